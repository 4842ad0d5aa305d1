"""Whether a stored package is the model folder byte by byte, and answers like it."""

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
from components.io import files, models
from components.io.tracking.store import Store

_LOAD_CHECK = Path(__file__).with_name("load_check.py")

_SECONDS = 300

# Of probabilities. On one machine and in equal batches only rounding can differ.
_TOLERANCE = 1e-6

# Width and height: the network's square is cut out of either.
_GOLDEN_SIZES = ((97, 61), (48, 80))


def verify(store: Store, model_id: str, folder: Path, digest: str) -> None:
    """Download the package of a logged model and compare it with the folder it was made from.

    Args:
        store: where the package is.
        model_id: the logged model.
        folder: weights and card.
        digest: of `folder`.

    Raises:
        ChangedInput: other bytes came back.
        PipelineError: the package does not load by itself, or answers differently.
    """
    from mlflow.artifacts import download_artifacts

    location = store.client.get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(download_artifacts(location, dst_path=scratch, tracking_uri=store.uri))
        found = files.digest_folder(package / "artifacts" / folder.resolve().name)
        if found != digest:
            raise ChangedInput(
                f"MLflow: model {model_id} came back with digest {found[:12]}, but {folder} has "
                f"{digest[:12]}; the artifact store damaged it. Check the store, then run "
                "`dvc repro register`."
            )
        _require_same_answers(package, folder)


def _require_same_answers(package: Path, folder: Path) -> None:
    card = models.load_card(folder)
    images = golden_images(card)
    process = _start(package)
    try:
        # Meanwhile, on the other core.
        expected = _answers(folder, images)
        encoded = json.dumps([base64.b64encode(image).decode() for image in images])
        output, errors = process.communicate(encoded, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unusable(folder, f"no answer in {_SECONDS} s") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise _unusable(folder, (errors.strip().splitlines() or ["no message"])[-1])
    _compare(json.loads(output.splitlines()[-1]), expected, card, folder)


def _unusable(folder: Path, why: str) -> PipelineError:
    return PipelineError(
        f"the registered form of {folder} does not work in a process of its own ({why}); nothing "
        "was promoted. Run `dvc repro register` again."
    )


def golden_images(card: ModelCard) -> list[bytes]:
    """Two generated pictures as files of a format that the card allows."""
    contents = []
    for width, height in _GOLDEN_SIZES:
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
        [sys.executable, "-P", str(_LOAD_CHECK), str(package)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited | settings,
        cwd=package,
    )


def _answers(folder: Path, images: list[bytes]) -> NDArray[np.float64]:
    """Probabilities (N, K) of the model folder itself, as evaluate computes them."""
    from components.core.images import read_square
    from components.core.inference import predict_logits, probabilities

    loaded = models.load(folder)
    card = loaded.card
    squares = np.stack([read_square(image, card.image_size, card.images) for image in images])
    logits = predict_logits(loaded.network, squares, batch_size=len(images), device="cpu")
    return probabilities(logits, card.temperature)


def _compare(
    answers: list[dict[str, Any]],
    expected: NDArray[np.float64],
    card: ModelCard,
    folder: Path,
) -> None:
    rows = [answer.get("probabilities", {}) for answer in answers]
    found = [[row.get(name, math.nan) for name in card.class_names] for row in rows]
    difference = float(np.abs(np.asarray(found) - expected).max())
    if not difference <= _TOLERANCE:
        raise PipelineError(
            f"the registered form of {folder} answers differently (probabilities differ by up to "
            f"{difference:.2g}; {_TOLERANCE:.0e} is allowed); nothing was promoted. Run `dvc repro "
            "train`."
        )
