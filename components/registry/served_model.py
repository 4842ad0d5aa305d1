"""The code inside a registered model: base64 images in, labels with probabilities out.

MLflow stores this file and runs it whenever it loads the model; nothing is pickled. Pixels, network
and temperature go through the same functions as in evaluate, so the numbers are equal.
"""

import base64
import binascii
from pathlib import Path
from typing import TypedDict

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types.schema import ColSpec, DataType, Map, Object, Property, Schema
from numpy.typing import NDArray

from components.core.data.decoding import InvalidImage, load_image
from components.core.training import inference
from components.io import models

_BATCH = 64

_URL_SAFE = str.maketrans("-_", "+/")


class Prediction(TypedDict, total=False):
    """Of one image: either `error`, or all the others."""

    label: str
    probability: float
    probabilities: dict[str, float]
    error: str


# MLflow reads the input's schema from the type hint of `predict`, but does not know TypedDict.
OUTPUT_SCHEMA = Schema(
    [
        ColSpec(
            Object(
                [
                    Property("label", DataType.string, required=False),
                    Property("probability", DataType.double, required=False),
                    Property("probabilities", Map(DataType.double), required=False),
                    Property("error", DataType.string, required=False),
                ]
            )
        )
    ]
)


def decode_base64(text: str) -> bytes:
    """Bytes of base64 (RFC 4648, section 4 or 5), wrapped or not, or of a data URL (RFC 2397).

    Raises:
        InvalidImage: it is neither.
    """
    text = "".join(text.split())
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise InvalidImage("a data URL that is not in base64")
    text = text.translate(_URL_SAFE)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage("not base64") from error


class ImageClassifier(PythonModel):
    """Classifies encoded images with the model folder that MLflow hands over."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder; its weights must have the digest in its card."""
        self._device = inference.resolve_device("auto")
        loaded = models.load(Path(context.artifacts["model"]))
        self._network, self._card = loaded.network.to(self._device), loaded.card

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: list[str],
        params: dict[str, object] | None = None,  # noqa: ARG002
    ) -> list[Prediction]:
        """One prediction per image, in order. An unreadable image gets an `error` of its own.

        Args:
            context: unused; MLflow's signature.
            model_input: files of any format the card allows, in base64, the URL-safe one too,
                padded or not; or as data URLs, as browsers make them.
            params: unused.
        """
        predictions: list[Prediction] = []
        for start in range(0, len(model_input), _BATCH):
            predictions += self._predict_batch(model_input[start : start + _BATCH])
        return predictions

    def _predict_batch(self, images: list[str]) -> list[Prediction]:
        predictions: list[Prediction] = [{} for _ in images]
        squares: list[NDArray[np.uint8]] = []
        readable: list[Prediction] = []
        for image, prediction in zip(images, predictions, strict=True):
            try:
                squares.append(self._load(image))
                readable.append(prediction)
            except InvalidImage as error:
                prediction["error"] = str(error)
        if squares:
            self._classify(np.stack(squares), readable)
        return predictions

    def _load(self, image: str) -> NDArray[np.uint8]:
        return load_image(decode_base64(image), self._card.image_size, self._card.images)

    def _classify(self, squares: NDArray[np.uint8], predictions: list[Prediction]) -> None:
        """Fill one prediction per square: (B, S, S, 3)."""
        logits = inference.predict_logits(
            self._network, squares, batch_size=_BATCH, device=self._device
        )
        table = inference.probabilities(logits, self._card.temperature).tolist()
        names = self._card.class_names
        for prediction, row, best in zip(predictions, table, logits.argmax(axis=1), strict=True):
            prediction["label"] = names[best]
            prediction["probability"] = row[best]
            prediction["probabilities"] = dict(zip(names, row, strict=True))


set_model(ImageClassifier())
