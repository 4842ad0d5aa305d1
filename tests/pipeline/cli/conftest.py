"""A real MLflow store for the commands that read and change it."""

from tests.components.registry.conftest import empty_database as empty_database
from tests.components.registry.conftest import opened as opened
from tests.components.registry.conftest import store as store
from tests.components.registry.conftest import verified as verified
