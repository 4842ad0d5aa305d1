"""Load a registered model for use: nothing of a package runs before its bytes are proved."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import MissingInput
from components.registry import audit_log, champion, verification
from components.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from components.tracking.store import Store


def load_model(name: str, version: str | None = None) -> PyFuncModel:
    """A version as an MLflow model whose `predict` takes base64 images.

    Its package is downloaded and compared with the audit log, and with the signature if a key is
    configured (`signature.VERIFY_KEY`), before MLflow runs the code in it.

    Args:
        name: of the registered model.
        version: its number; None = the champion.

    Raises:
        MissingInput: there is no such version.
        ChangedInput: it is not what was registered, or nobody or somebody else has signed it.
    """
    from mlflow import pyfunc

    scratch = tempfile.TemporaryDirectory()
    with open_store() as store:
        package = read_version(store, name, version, Path(scratch.name))
    model: PyFuncModel = pyfunc.load_model(str(package))
    weakref.finalize(model, scratch.cleanup)
    return model


def read_version(store: Store, name: str, version: str | None, target: Path) -> Path:
    """Download the package of a version into the folder `target`, proved; return the package.

    Args:
        store: where the model is.
        name: of the registered model.
        version: its number; None = the champion.
        target: folder to download to.

    Raises:
        MissingInput: there is no such version.
        ChangedInput: it is not what was registered, or nobody or somebody else has signed it.
    """
    log = audit_log.read(store, name)
    number = version or champion.read_champion(store, name)[0].version or ""
    found, evaluated = champion.find_version(store, name, number), log.evaluation_of(number)
    if found is None or evaluated is None:
        what = f"no version {version}" if version else "no champion"
        raise MissingInput(f"{name}: there is {what}; see `python -m pipeline status`.")
    champion.require_weights(log, number, "be used")
    return verification.read_back(
        store,
        champion.logged_model(found),
        target,
        evaluated.model_digest,
        evaluated.package_digest,
    )
