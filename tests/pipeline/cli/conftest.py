"""A real MLflow store for the commands that read and change it."""

from tests.components.registry.conftest import local_store as local_store
from tests.components.registry.conftest import opened as opened
from tests.components.registry.conftest import store as store
from tests.components.registry.conftest import verified as verified
