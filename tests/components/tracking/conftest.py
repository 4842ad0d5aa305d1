"""MLflow databases and servers that misbehave, as the registry's tests have them."""

from tests.components.registry.conftest import local_store as local_store
from tests.components.registry.conftest import serve as serve
from tests.components.registry.conftest import store as store
