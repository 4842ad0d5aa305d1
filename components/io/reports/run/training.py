"""Sections about training and tuning: curves, trials, what augmentation does."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from components.core.data.decoding import InvalidImage, load_image
from components.core.training.presets import Augmentation
from components.io.data.scan import read_regular
from components.io.reports.charts import Chart, Line
from components.io.reports.pages import to_jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.artifacts import ModelCard
    from components.io.reports.run.files import Row, RunFiles

TRIALS = 15  # in the table; all are in trials.csv
_CURVES = 40  # trials drawn
_SHEET_IMAGES, _SHEET_VARIANTS = 4, 6


def learning_curves(history: list[Row]) -> list[Chart]:
    """Loss and accuracy per epoch, with the epoch that was kept."""
    if not history:
        return []
    epochs = [{name: float(value) for name, value in row.items()} for row in history]
    best = [epoch for epoch in epochs if epoch["best"]][-1]

    def line(key: str, color: str) -> Line:
        return Line(key.replace("_", " "), [(e["epoch"], e[key]) for e in epochs], color)

    kept = {best["epoch"]: f"kept: epoch {best['epoch']:.0f}"}
    loss = f"{best['val_loss']:.3f} after epoch {best['epoch']:.0f} of {len(epochs)}"
    rate = max(epoch["learning_rate"] for epoch in epochs)
    return [
        Chart(
            title=f"Lowest val loss: {loss}.",
            lines=[line("train_loss", "three"), line("val_loss", "one")],
            x_label="epoch",
            y_label="loss",
            marks=kept,
            whole_x=True,
        ),
        Chart(
            title=f"Val accuracy {best['val_accuracy']:.3f} at the epoch that was kept.",
            lines=[line("val_accuracy", "one")],
            x_label="epoch",
            y_label="accuracy",
            marks=kept,
            whole_x=True,
        ),
        Chart(
            title=f"Learning rate at the end of each epoch, at most {rate:.2g}.",
            lines=[line("learning_rate", "two")],
            x_label="epoch",
            y_label="",
            whole_x=True,
        ),
    ]


def best_trials(trials: list[Row]) -> list[Row]:
    """Complete ones first, the lowest val loss on top."""
    return sorted(trials, key=lambda t: (t["state"] != "complete", float(t["val_loss"] or "inf")))


def trial_curves(files: RunFiles) -> Chart | None:
    """Val loss of the trials along their own schedule."""
    if not files.curves or not files.trials:
        return None
    points: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in files.curves:
        points[row["trial"]].append((float(row["percent"]), float(row["val_loss"])))
    states = {row["trial"]: row["state"] for row in files.trials}
    ranked = [row["trial"] for row in best_trials(files.trials) if row["trial"] in points]
    lines = [
        Line(
            f"trial {trial}" if trial == ranked[0] else "",
            points[trial],
            "three" if trial == ranked[0] else "one",
            "solid" if states[trial] == "complete" else "dashed",
        )
        for trial in reversed(ranked[:_CURVES])
    ]
    pruned = sum(state == "pruned" for state in states.values())
    return Chart(
        title=f"Trial {ranked[0]} ended lowest; {pruned} of {len(states)} trials were stopped "
        "early (dashed).",
        lines=lines,
        x_label="percent of the trial's own epochs",
        y_label="val loss",
        x_range=(0, 100),
    )


class AugmentedRow(NamedTuple):
    """An image as it is, and as training may see it: JPEGs."""

    path: str
    jpegs: list[bytes]


def augmentation_sheet(files: RunFiles) -> list[AugmentedRow]:
    """Some training images under the augmentation that the model was trained with."""
    card = files.card
    if card is None or card.settings.get("augmentation") not in get_args(Augmentation):
        return []
    train = files.manifest[files.manifest["split"] == "train"]["path"].tolist()
    step = max(len(train) // _SHEET_IMAGES, 1)
    rows = []
    for path in train[::step][:_SHEET_IMAGES]:
        try:
            raw = read_regular(files.images / path, card.images)
            pixels = load_image(raw, card.image_size, card.images)
        except (OSError, InvalidImage):
            continue
        variants = _augment(pixels, card)
        rows.append(AugmentedRow(path, [to_jpeg(each) for each in (pixels, *variants)]))
    return rows


def _augment(pixels: NDArray[np.uint8], card: ModelCard) -> list[NDArray[np.uint8]]:
    import torch

    from components.core.training import augmentation

    batch = torch.from_numpy(np.stack([pixels] * _SHEET_VARIANTS))
    level = next(a for a in get_args(Augmentation) if a == card.settings["augmentation"])
    changes = augmentation.draw(
        len(batch),
        level,
        horizontal_flip=bool(card.settings.get("horizontal_flip")),
        rotate_90=bool(card.settings.get("rotate_90")),
        generator=torch.Generator().manual_seed(0),
    )
    found = augmentation.augment(augmentation.normalize(batch), changes, level)
    mean, std = (
        torch.tensor(of)[:, None, None] * 255 for of in (augmentation.MEAN, augmentation.STD)
    )
    shown = (found * std + mean).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return [np.asarray(each) for each in shown.numpy()]
