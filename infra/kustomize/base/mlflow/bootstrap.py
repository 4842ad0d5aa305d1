"""Create MLflow's two users; running it again sets their passwords and rights again.

trainer     logs runs in the experiment; has no right on the registered model and its audit log
promoter    the same, and owns both: it alone moves `champion`, decides and prunes weights

The registered model is created here, by the administrator: whoever creates a model has all rights
on it, and to anybody else a missing model looks like a forbidden one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.registry import audit_log
from components.tracking.store import EXPERIMENT, open_store


@contextmanager
def identity(secret: str) -> Iterator[tuple[str, str]]:
    """Act as the user in this secret; yields name and password."""
    folder = Path(os.environ["SECRETS"]) / secret
    name, password = ((folder / key).read_text().strip() for key in ("username", "password"))
    os.environ |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    yield name, password


def ensure_user(secret: str, rights: list[tuple[str, str, str]]) -> None:
    """Create the user of this secret, or set its password; give it its rights.

    Args:
        secret: with the keys username and password.
        rights: kind of thing, its id and the permission on it.
    """
    from mlflow.server import get_app_client

    with identity(secret) as (name, password):
        pass
    with identity("mlflow-admin"):
        client = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
        with _already_there() as known:
            client.create_user(name, password)
        if known:
            client.update_user_password(name, password)
        for kind, thing, permission in rights:
            with _already_there() as known:
                client.grant_user_permission(name, kind, thing, permission)
            if known:
                client.revoke_user_permission(name, kind, thing)
                client.grant_user_permission(name, kind, thing, permission)


@contextmanager
def _already_there() -> Iterator[list[str]]:
    """Yields a list that is filled when MLflow answers that the thing exists."""
    from mlflow.exceptions import MlflowException

    known: list[str] = []
    try:
        yield known
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        known.append(error.message)


def main() -> None:
    """Experiments and model first, then who may do what with them."""
    model = os.environ["MODEL_NAME"]
    with identity("mlflow-admin"), open_store() as store:
        log = store.client.get_run(audit_log.ensure(store, model).run_id)
        working = [("experiment", store.experiment_id, "EDIT")]
    # Deleting stored weights takes MANAGE; nobody has it on runs, the audit log among them.
    owning = [("registered_model", model, "MANAGE"), ("logged_model", "*", "MANAGE")]
    deciding = [("experiment", log.info.experiment_id, "EDIT")]
    ensure_user("mlflow-trainer", working)
    ensure_user("mlflow-promoter", working + deciding + owning)
    print(f"trainer and promoter may log to {EXPERIMENT}; only the promoter may change {model}")


if __name__ == "__main__":
    main()
