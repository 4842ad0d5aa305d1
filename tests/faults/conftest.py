"""The validated data set and the stores of the other tests."""

from tests.components.conftest import settings as settings
from tests.components.conftest import workspace as workspace
from tests.components.registry.conftest import local_store as local_store
from tests.components.registry.conftest import model_folder as model_folder
from tests.components.registry.conftest import opened as opened
from tests.components.registry.conftest import small_model as small_model
from tests.components.registry.conftest import store as store
