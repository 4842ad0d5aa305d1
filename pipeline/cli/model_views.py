"""How the commands of the model show what they found."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.phrases import count

if TYPE_CHECKING:
    from pipeline.chosen_model import ChosenModel
    from pipeline.compare import Row
    from pipeline.drift import Drift
    from pipeline.explain import Explanation
    from pipeline.export.card import ExportedCard
    from pipeline.predict import Prediction


EXPORTED = (
    "file", "written", "MB", "same labels", "macro F1 loss", "largest change", "p50 ms", "p95 ms",
)  # fmt: skip


DRIFT = ("status", "of each image", "val, median", "new, median", "distance", "p-value")


COMPARED = (
    "architecture", "accuracy on val (95 %)", "macro F1", "MB", "ms an image", "training",
)  # fmt: skip


@dataclass
class Tally:
    """What came out of a prediction.

    Attributes:
        predicted: images.
        unsure: of them below the threshold.
        unreadable: files.
    """

    predicted: int = 0
    unsure: int = 0
    unreadable: int = 0

    def add(self, prediction: Prediction, threshold: float) -> bool:
        """Count one; return whether it is as probable as wanted."""
        if prediction.problem:
            self.unreadable += 1
            return False
        self.predicted += 1
        self.unsure += prediction.probability < threshold
        return prediction.probability >= threshold


def show_lines(found: Iterable[Prediction], class_names: Sequence[str], threshold: float) -> Tally:
    """Print label, probability and path of each image as it is predicted."""
    tally, width = Tally(), max(map(len, class_names))
    for prediction in found:
        sure = tally.add(prediction, threshold)
        path = printable(prediction.path)
        if prediction.problem:
            print(f"! {path}: {prediction.problem}", file=sys.stderr, flush=True)
            continue
        mark = "" if sure else f"  below {threshold:g}"
        line = f"{prediction.label:<{width}}  {prediction.probability:.3f}  {path}{mark}"
        print(line, flush=True)
    return tally


def show_csv(found: Iterable[Prediction], class_names: Sequence[str], threshold: float) -> Tally:
    """Print a table: one row for each file, one column for each class; problems on stderr, too."""
    tally, writer = Tally(), csv.writer(sys.stdout, lineterminator="\n")
    columns = [f"p:{name}" for name in class_names]
    writer.writerow(["path", "label", "probability", "sure", *columns, "problem"])
    for prediction in found:
        sure, path = tally.add(prediction, threshold), printable(prediction.path)
        if prediction.problem:
            print(f"! {path}: {prediction.problem}", file=sys.stderr, flush=True)
            writer.writerow([path, "", "", "", *[""] * len(columns), prediction.problem])
            continue
        numbers = [f"{p:.6f}" for p in (prediction.probability, *prediction.probabilities)]
        answer = [prediction.label, numbers[0], "yes" if sure else "no"]
        writer.writerow([path, *answer, *numbers[1:], ""])
    return tally


def printable(path: object) -> str:
    """A path fit for a terminal."""
    from components.io.data.scan import printable

    return printable(str(path))


def summary(tally: Tally, threshold: float, *, loading: float, predicting: float) -> str:
    """Counts and speed in a line.

    Args:
        tally: of the prediction.
        threshold: below which a prediction is unsure.
        loading: how long the model took to load, s.
        predicting: how long the files took, s.
    """
    speed = f"{tally.predicted / max(predicting, 1e-9):,.0f} images/s"
    images = count(tally.predicted, "image")
    parts = [f"{images} in {predicting:.1f} s ({speed}), after {loading:.1f} s to load"]
    if tally.unsure:
        parts.append(f"{tally.unsure:,} below {threshold:g}")
    if tally.unreadable:
        parts.append(f"{count(tally.unreadable, 'file')} could not be read")
    return "; ".join(parts)


def exported_rows(card: ExportedCard) -> list[list[str]]:
    """Rows of `EXPORTED`: the model itself in torch, then each file."""
    eager = [f"{card.eager_p50_ms:.1f}", f"{card.eager_p95_ms:.1f}"]
    rows = [["the model in torch", "", "", "", "", "", *eager]]
    for form in card.files:
        agreement = [f"{form.same_labels:.2%} of {form.images:,}", f"{form.macro_f1_loss:.4f}"]
        rows.append(
            [
                form.name,
                "yes" if form.accepted else "no",
                f"{form.megabytes:.1f}",
                *agreement,
                f"{form.max_probability_change:.1e}",
                f"{form.p50_ms:.1f}",
                f"{form.p95_ms:.1f}",
            ]
        )
    return rows


def explained(found: Explanation) -> list[str]:
    """The three most probable classes, the neighbors, and where the figure is."""
    classes = [f"{name} {probability:.3f}" for name, probability in found.ranked[:3]]
    lines = [", then ".join(classes), found.searched]
    for neighbor in found.neighbors:
        path = printable(neighbor.path)
        lines.append(f"  {neighbor.similarity:.3f}  {neighbor.label}  {path}")
    return [*lines, str(found.figure)]


def drift_rows(found: Drift) -> list[list[str]]:
    """Rows of `DRIFT`, the most suspicious first."""
    return [
        [
            "fail" if one.alarm else "pass",
            one.name,
            f"{one.reference:.3f}",
            f"{one.found:.3f}",
            f"{one.distance:.3f}",
            f"{one.p_value:.1e}",
        ]
        for one in sorted(found.findings, key=lambda one: one.p_value)
    ]


def drift_summary(found: Drift) -> str:
    """Whether there is an alarm, what it rests on, and what to do."""
    images = f"{count(found.images, 'image')} against {found.reference_images:,} of val"
    if not found.alarm:
        return f"no drift: {images}"
    names = [one.name for one in found.findings if one.alarm]
    return (
        f"drift in {', '.join(names)}: {images}. Look at the images (`python -m pipeline predict "
        "--threshold 0.8`, `explain`); if they are what the model will see from now on, label some "
        "and train with them."
    )


def drift_json(found: Drift, chosen: ChosenModel) -> dict[str, object]:
    """The same for programs."""
    return {
        "schema_version": 1,
        "model_version": chosen.version,
        "model_digest": chosen.digest,
        "alarm": found.alarm,
        "images": found.images,
        "reference_images": found.reference_images,
        "unreadable": [{"path": str(path), "problem": why} for path, why in found.unreadable],
        "statistics": [one._asdict() for one in found.findings],
    }


def compared_row(row: Row) -> list[str]:
    """A row of `COMPARED`."""
    return [
        row.architecture,
        f"{row.accuracy:.3f} ({row.low:.3f}-{row.high:.3f})",
        f"{row.macro_f1:.3f}",
        f"{row.megabytes:.1f}",
        f"{row.p50_ms:.1f}",
        f"{row.train_minutes:.1f} min",
    ]
