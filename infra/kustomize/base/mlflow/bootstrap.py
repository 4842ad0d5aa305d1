"""Make MLflow's two working identities; running it again sets their passwords and rights again.

trainer     logs runs in the experiment; has no right on the registered model
promoter    the same, and owns the registered model: it alone moves `champion`

The model is made here, by the promoter: MLflow gives whoever creates a model all rights on it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.io.tracking import journal
from components.io.tracking.store import EXPERIMENT, open_store


@contextmanager
def identity(secret: str) -> Iterator[tuple[str, str]]:
    """Speak to MLflow as the user in this secret; gives name and password."""
    folder = Path(os.environ["SECRETS"]) / secret
    name, password = ((folder / key).read_text().strip() for key in ("username", "password"))
    os.environ |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    yield name, password


def ensure_user(secret: str, experiment_id: str) -> None:
    """Create the user of this secret, or set its password; let it work in the experiment."""
    from mlflow.exceptions import MlflowException
    from mlflow.server import get_app_client

    with identity(secret) as (name, password):
        pass
    with identity("mlflow-admin"):
        client = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
        try:
            client.create_user(name, password)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            client.update_user_password(name, password)
        client.grant_user_permission(name, "experiment", experiment_id, "EDIT")


def main() -> None:
    """Users first, then the model in the promoter's name."""
    from mlflow import MlflowClient

    with identity("mlflow-admin"):
        client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    for secret in ("mlflow-trainer", "mlflow-promoter"):
        ensure_user(secret, experiment_id)
    with identity("mlflow-promoter"), open_store() as store:
        journal.ensure(store, os.environ["MODEL_NAME"])
    print(f"trainer and promoter may log to {EXPERIMENT}; the promoter owns the model")


if __name__ == "__main__":
    main()
