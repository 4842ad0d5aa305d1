"""The diagnosis of a run from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.core.evaluation.diagnosis import Finding, diagnose, training_facts
from components.core.evaluation.mistakes import diagnose_mistakes
from components.core.evaluation.sources import sources

if TYPE_CHECKING:
    import pandas as pd

    from components.io.reports.run.files import RunFiles

_SHOWN = 3


def find(files: RunFiles) -> list[Finding]:
    """One to three findings, those about the training first; none for a healthy run."""
    return [*_about_training(files), *about_mistakes(files)][:_SHOWN]


def _about_training(files: RunFiles) -> list[Finding]:
    card = files.card
    known = {"epochs", "learning_rate", "augmentation", "label_smoothing"}
    if card is None or not files.history or not known <= card.settings.keys():
        return []
    counts = [splits["train"] for splits in files.report.counts.values()]
    history = [{name: float(value) for name, value in row.items()} for row in files.history]
    return diagnose(training_facts(history, card.settings, counts, card.initial_weights))


def about_mistakes(files: RunFiles) -> list[Finding]:
    """What the mistakes on the test images say about the data."""
    if files.predictions is None or files.card is None:
        return []
    counts = {name: splits["train"] for name, splits in files.report.counts.items()}
    rotate_90 = bool(files.card.settings.get("rotate_90"))
    known = attributes(files.manifest)
    return diagnose_mistakes(files.predictions, counts, known, rotate_90=rotate_90)


def attributes(manifest: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """What is known of used images besides their pixels: name -> (value, class) of each."""
    used = manifest[manifest["status"] == "used"]
    labels = used["label"].tolist()
    sizes = [f"{w} x {h}" for w, h in zip(used["width"], used["height"], strict=True)]
    columns = {
        "size": sizes,
        "orientation": [
            "wide" if w > h else "high" if h > w else "square"
            for w, h in zip(used["width"], used["height"], strict=True)
        ],
        "format": used["format"].tolist(),
        "color mode": used["mode"].tolist(),
    }
    found = {name: list(zip(values, labels, strict=True)) for name, values in columns.items()}
    return found | sources(used["path"].tolist(), labels, used["group"].tolist())
