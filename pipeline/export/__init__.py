"""A model as ONNX files: uint8 pixels in, calibrated probabilities out, in fp32 and in int8.

Standardization and temperature are inside the files, so that a consumer only decodes, orients and
resizes an image, as the card beside them and their own metadata say; example.py does it. Each form
is compared with the model itself on val, and not written unless it agrees.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.core.evaluation import agreement
from components.core.evaluation.agreement import Agreement
from components.io import files, models, process
from components.io.models import LoadedModel
from pipeline import model_data
from pipeline.export import card as cards
from pipeline.export import latency, onnx_file
from pipeline.export.card import ExportedCard, ExportedFile, Precision

if TYPE_CHECKING:
    from components.core.training.loop import LabeledImages
    from pipeline.chosen_model import ChosenModel

# fp32 sums in another order: 3e-7 was measured.
TOLERANCE = 1e-5

NAMES: dict[Precision, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}

_EXAMPLE = Path(__file__).with_name("example.py")


def export(chosen: ChosenModel, output: Path) -> ExportedCard:
    """Write the ONNX files that agree with the model on val, card.json and example.py.

    Input `pixels`: (N, S, S, 3) uint8. Output `probabilities`: (N, K) float32.

    Args:
        chosen: the model.
        output: folder to write to; a form that is refused is removed from it.

    Raises:
        PipelineError: the extra is not installed, or fp32 differs from the model.
        MissingInput: there are no validated images to compare the files on.
    """
    onnx_file.require_packages()
    loaded = models.load(chosen.folder)
    val = model_data.open_for(loaded.card, ("val",)).splits["val"]
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / file for name, file in NAMES.items()}
        network = onnx_file.complete_network(loaded.network, loaded.card.temperature)
        onnx_file.write_fp32(network, loaded.card.image_size, paths["fp32"])
        onnx_file.write_int8(paths["fp32"], val.pixels, paths["int8"])
        found = _compare(loaded, val, paths)
        times = latency.time_in_turn(network, paths, loaded.card.image_size)
        card = _describe(chosen, loaded, paths, found, times)
        for form in card.files:
            if form.accepted:
                onnx_file.set_metadata(paths[form.precision], cards.metadata(card))
        card = _with_digests(card, paths)
        _publish(card, paths, output)
    return card


def _compare(
    loaded: LoadedModel, val: LabeledImages, paths: dict[Precision, Path]
) -> dict[Precision, Agreement]:
    """How each file agrees with the model on val."""
    from components.core.training import inference

    logits = inference.predict_logits(loaded.network, val.pixels, device="cpu")
    original = inference.probabilities(logits, loaded.card.temperature)
    found = {
        name: agreement.compare(original, onnx_file.predict(path, val.pixels), val.labels)
        for name, path in paths.items()
    }
    difference = found["fp32"].max_probability_change
    if not difference <= TOLERANCE:
        raise PipelineError(
            f"export: onnxruntime and the model differ by {difference:.1e} in probability, "
            f"more than {TOLERANCE:.0e}; nothing was written. Please report it."
        )
    return found


def _describe(
    chosen: ChosenModel,
    loaded: LoadedModel,
    paths: dict[Precision, Path],
    found: dict[Precision, Agreement],
    times: dict[str, latency.Times],
) -> ExportedCard:
    forms = [
        ExportedFile(
            name=NAMES[precision],
            precision=precision,
            accepted=not found[precision].refusal,
            refusal=found[precision].refusal,
            sha256="",
            megabytes=path.stat().st_size / 1e6,
            images=found[precision].images,
            same_labels=found[precision].same_labels,
            macro_f1_loss=found[precision].macro_f1_loss,
            max_probability_change=found[precision].max_probability_change,
            p50_ms=times[precision].p50_ms,
            p95_ms=times[precision].p95_ms,
        )
        for precision, path in paths.items()
    ]
    return ExportedCard(
        **loaded.card.model_dump(),
        preprocessing=cards.describe_preprocessing(loaded.card),
        model=chosen.title,
        model_version=chosen.version,
        model_digest=chosen.digest,
        verdict=chosen.verdict,
        files=forms,
        eager_p50_ms=times["eager"].p50_ms,
        eager_p95_ms=times["eager"].p95_ms,
        machine=process.hardware_facts("cpu")["device"],
    )


def _with_digests(card: ExportedCard, paths: dict[Precision, Path]) -> ExportedCard:
    digests = {name: files.digest_file(path) for name, path in paths.items()}
    forms = [
        form.model_copy(update={"sha256": digests[form.precision]}) if form.accepted else form
        for form in card.files
    ]
    return card.model_copy(update={"files": forms})


def _publish(card: ExportedCard, paths: dict[Precision, Path], output: Path) -> None:
    for form in card.files:
        if form.accepted:
            with files.replacing(output / form.name) as temporary:
                shutil.copyfile(paths[form.precision], temporary)
        else:
            (output / form.name).unlink(missing_ok=True)
    files.write_text(output / _EXAMPLE.name, _EXAMPLE.read_text())
    models.save_card(output, card)
