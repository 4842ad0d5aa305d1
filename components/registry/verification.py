"""Whether a stored package has the bytes that were uploaded and predicts like its model folder."""

import base64
import json
import math
import os
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.core.artifacts import ModelCard
from components.core.errors import ChangedInput, PipelineError
from components.core.phrases import short_digest
from components.io import files, models, process
from components.registry import signature
from components.tracking.store import Store, get_or_none

_SMOKE_TEST = Path(__file__).with_name("smoke_test.py")

_TIMEOUT_SECONDS = 300

# Of probabilities. On one machine and in equal batches only rounding can differ.
_TOLERANCE = 1e-6

_RESTORE = "restore the artifact store from a backup, or run `dvc repro register`."

# Width and height of the smoke test's images: the network's square is cut out of either.
_IMAGE_SIZES = ((97, 61), (48, 80))


def verify(store: Store, model_id: str, digest: str, package_digest: str = "") -> None:
    """Download the package of a logged model, compare its bytes, and check its predictions.

    If a key is configured, the package must be signed by it.

    They are made in a process that has nothing but the package, and must be those of the model
    folder inside it, computed here.

    Args:
        store: where the package is.
        model_id: the logged model.
        digest: of its model folder.
        package_digest: of the whole package; empty if it is not known.

    Raises:
        ChangedInput: other bytes came back, or nobody or somebody else has signed them.
        PipelineError: the package does not load by itself, or predicts differently.
    """
    with tempfile.TemporaryDirectory() as scratch:
        package = read_back(store, model_id, Path(scratch), digest, package_digest)
        _require_same_predictions(package, _model_folder(package), model_id)


def read_back(
    store: Store, model_id: str, target: Path, digest: str, package_digest: str = ""
) -> Path:
    """Download a package into the folder `target` and compare its bytes; return the package.

    Args:
        store: where the package is.
        model_id: the logged model.
        target: folder to download to.
        digest: of its model folder.
        package_digest: of the whole package; empty if it is not known.

    Raises:
        ChangedInput: other bytes came back, or nobody or somebody else has signed them.
    """
    package = download(store, model_id, target, digest).parent.parent
    if package_digest and files.digest_folder(package) != package_digest:
        raise ChangedInput(
            f"MLflow: the code or the description inside model {model_id} is not what was "
            f"uploaded: {_RESTORE}"
        )
    return package


def download(store: Store, model_id: str, target: Path, digest: str) -> Path:
    """Download the package of a logged model into the folder `target`; return its model folder.

    Raises:
        ChangedInput: the model folder has another digest, or is not there; a key is configured, and
            the package is not signed by it.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    gone = ChangedInput(f"MLflow: the files of model {model_id} are gone: {_RESTORE}")
    logged = get_or_none(store.client.get_logged_model, model_id)
    if logged is None:
        raise gone
    place = {"dst_path": str(target), "tracking_uri": store.uri}
    try:
        package = get_or_none(download_artifacts, logged.artifact_location, **place)
    except OSError as error:
        if files.is_full(error):  # here, and not there
            raise
        raise gone from error
    except MlflowException as error:  # a link in place of a folder leads elsewhere
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise gone from error
    if package is None:
        raise gone
    folder = _model_folder(Path(package))
    found = files.digest_folder(folder) if folder.is_dir() else "none"
    if found != digest:
        raise ChangedInput(
            f"MLflow: model {model_id} came back with digest {short_digest(found)}, but was stored "
            f"with {short_digest(digest)}; the artifact store damaged it: {_RESTORE}"
        )
    signature.verify(Path(package), f"MLflow: model {model_id}")
    return folder


def _model_folder(package: Path) -> Path:
    """The one folder among the package's artifacts; a path that does not exist otherwise."""
    folders = [path for path in (package / "artifacts").glob("*") if path.is_dir()]
    return folders[0] if len(folders) == 1 else package / "none"


def _require_same_predictions(package: Path, folder: Path, model_id: str) -> None:
    card = models.load_card(folder)
    images = smoke_test_images(card)
    child = _start(package)
    try:
        # Meanwhile, on the other core.
        expected = _predict(folder, images)
        encoded = json.dumps([base64.b64encode(image).decode() for image in images])
        output, errors = child.communicate(encoded, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unusable(model_id, f"no predictions within {_TIMEOUT_SECONDS} s") from error
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        raise _unusable(model_id, (errors.strip().splitlines() or ["no message"])[-1])
    _compare(json.loads(output.splitlines()[-1]), expected, card, model_id)


def _unusable(model_id: str, why: str) -> PipelineError:
    return PipelineError(
        f"MLflow: model {model_id} does not work in a process of its own ({why}); no alias was "
        "moved. Run `dvc repro register` to store it again."
    )


def smoke_test_images(card: ModelCard) -> list[bytes]:
    """Two generated images as files of a format that the card allows."""
    contents = []
    for width, height in _IMAGE_SIZES:
        y, x = np.mgrid[:height, :width]
        rgb = np.stack([x * 255 // width, y * 255 // height, (x // 8 + y // 8) % 2 * 255], axis=-1)
        content = BytesIO()
        Image.fromarray(rgb.astype(np.uint8)).save(content, card.images.formats[0])
        contents.append(content.getvalue())
    return contents


def _start(package: Path) -> subprocess.Popen[str]:
    hidden = {"PYTHONPATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    # The reference is computed on the CPU too; other devices round differently.
    settings = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(  # noqa: S603 - our own file and interpreter
        [sys.executable, "-P", str(_SMOKE_TEST), str(package)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited | settings,
        cwd=package,
    )


def _predict(folder: Path, images: list[bytes]) -> NDArray[np.float64]:
    """Probabilities (N, K) of the model folder itself, as evaluate computes them."""
    process.configure()  # a person's approval comes here without a step before it
    from components.core.data.decoding import load_image
    from components.core.training.inference import predict_logits, probabilities

    loaded = models.load(folder)
    card = loaded.card
    squares = np.stack([load_image(image, card.image_size, card.images) for image in images])
    logits = predict_logits(loaded.network, squares, batch_size=len(images), device="cpu")
    return probabilities(logits, card.temperature)


def _compare(
    predictions: list[dict[str, Any]],
    expected: NDArray[np.float64],
    card: ModelCard,
    model_id: str,
) -> None:
    rows = [prediction.get("probabilities", {}) for prediction in predictions]
    found = [[row.get(name, math.nan) for name in card.class_names] for row in rows]
    difference = float(np.abs(np.asarray(found) - expected).max())
    if not difference <= _TOLERANCE:
        raise PipelineError(
            f"MLflow: model {model_id} predicts differently from its own model folder "
            f"(probabilities differ by up to {difference:.2g}; {_TOLERANCE:.0e} is allowed); no "
            "alias was moved. Run `dvc repro train`."
        )
