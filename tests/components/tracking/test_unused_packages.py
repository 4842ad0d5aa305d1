"""What MLflow's client imports and never uses stays out, and is whole for whoever asks."""

import subprocess
import sys

import pytest

from tests.components.conftest import ROOT

_OPEN = """
import sys
from components.tracking.store import open_store
with open_store() as store:
    store.client.search_experiments()
    store.client.search_registered_models()
"""


def run(code: str, store: str) -> None:
    words = [sys.executable, "-W", "ignore", "-c", code]
    environment = {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    subprocess.run(words, check=True, env=environment)


def test_the_client_works_without_what_serves_and_judges_language_models(store: str) -> None:
    run(f"{_OPEN}assert not {{'fastapi', 'scipy', 'torch'}} & set(sys.modules)", store)
    # It is there, and MLflow alone imports it: otherwise the test above shows nothing.
    run("import mlflow, sys; assert {'fastapi', 'scipy'} <= set(sys.modules)", store)


@pytest.mark.parametrize(
    "use",
    [
        "import mlflow; assert mlflow.models.infer_signature([1]).inputs",
        "from mlflow.models import ModelSignature, Model; assert Model.load",
        "import mlflow.genai; assert callable(mlflow.genai.evaluate)",
        "from mlflow.genai.scorers import Scorer, base; assert base.Scorer is Scorer",
        "from mlflow.genai.judges import make_judge; assert callable(make_judge)",
        "from mlflow.gateway import get_gateway_uri; assert 'fastapi' in sys.modules",
        "import importlib.resources as r; assert r.files('mlflow.models').joinpath('model.py')",
        "import mlflow.models as m; assert not hasattr(m, '__nothing__'); assert m.Model",
    ],
)
def test_whoever_asks_for_more_gets_it(use: str, store: str) -> None:
    run(f"{_OPEN}{use}", store)


def test_an_mlflow_that_is_imported_already_stays_as_it_is(store: str) -> None:
    run(
        f"import mlflow.models; before = mlflow.models\n{_OPEN}assert mlflow.models is before",
        store,
    )
