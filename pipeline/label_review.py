"""Suspicious labels in all splits, for a person to decide about: labels.csv and a page.

Every image is predicted by a network that has not seen it: the used images are divided into folds,
groups whole, and a network is trained on all folds but one. What a fold gives is kept, so that a
stopped search goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components import train
from components.core.artifacts import SPLITS, Hyperparameters
from components.core.evaluation import label_issues
from components.core.training import inference
from components.core.training.loop import LabeledImages
from components.core.training.subset import Joined, Subset
from components.io import files, models, params, process
from components.io.data.dataset import Dataset, open_dataset
from components.io.reports import pages
from components.train.key import resolve
from pipeline import SETTINGS, review_records
from pipeline.review_records import COLUMNS, FOLDER, TABLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.data.decoding import ImageParams
    from components.core.evaluation.label_issues import Suspicion
    from components.core.training.config import TrainingConfig

    Floats = NDArray[np.float64]

# Images on the page; the table has all.
_SHOWN = 200


@dataclass(frozen=True)
class AllImages:
    """The used images of all splits, as one.

    Attributes:
        images: with labels.
        paths: relative to the image folder.
        groups: names.
        splits: of each image.
        digests: SHA-256 of each file.
        class_names: by index.
        data_digest: of the data.
    """

    images: LabeledImages
    paths: list[str]
    groups: list[str]
    splits: list[str]
    digests: list[str]
    class_names: list[str]
    data_digest: str


class Found(NamedTuple):
    """What the search gave.

    Attributes:
        suspicious: labels that confident learning finds wrong and no person chose.
        confirmed: labels that it finds wrong and a person chose.
        listed: rows of the table.
        images: that were looked at.
        table: the CSV.
        page: the HTML.
    """

    suspicious: int
    confirmed: int
    listed: int
    images: int
    table: Path
    page: Path


def open_all(settings: train.Params) -> AllImages:
    """All used images of the last validation."""
    size = settings.model.image_size
    dataset = open_dataset(train.Paths(), settings.data, size, SPLITS)
    return join(dataset)


def join(dataset: Dataset) -> AllImages:
    """The splits of a data set, one after the other."""
    parts = [dataset.splits[split] for split in SPLITS]
    rows = [dataset.rows[split] for split in SPLITS]
    labels = np.concatenate([part.labels for part in parts])
    return AllImages(
        images=LabeledImages(Joined([part.pixels for part in parts]), labels),
        paths=[str(path) for part in rows for path in part["path"]],
        groups=[str(name) for part in rows for name in part["group"]],
        splits=[split for split, part in zip(SPLITS, rows, strict=True) for _ in range(len(part))],
        digests=[str(digest) for part in rows for digest in part["sha256"]],
        class_names=dataset.class_names,
        data_digest=dataset.digest,
    )


def out_of_fold(everything: AllImages, settings: train.Params, folds: int, cache: Path) -> Floats:
    """Probabilities (N, K) of every image by a network that was not trained on it.

    Trained as train does it, with tune's hyperparameters; the best epoch is that of the fold left
    out, which tells it of the labels there no more than a number of epochs can.

    Args:
        everything: all images.
        settings: of train.
        folds: how many.
        cache: keeps the result of each fold.
    """
    process.configure()
    process.choose_kernels(deterministic=settings.training.deterministic)
    labels, classes = everything.images.labels, len(everything.class_names)
    tuned = files.read_artifact(train.Paths().hyperparameters, Hyperparameters)
    fold_of = label_issues.assign_folds(labels, everything.groups, folds)
    table = np.zeros((len(labels), classes))
    for fold in range(folds):
        inside, outside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        config, _ = resolve(settings, tuned, labels[inside], classes)
        # To the end: the fold left out must not decide when to stop.
        config = replace(config, early_stopping=config.epochs)
        what = f"{everything.data_digest} {settings.model} {asdict(config)} {fold}/{folds}"
        path = cache / "review" / f"{hashlib.sha256(what.encode()).hexdigest()}.npy"
        if not path.is_file():
            print(f"review    fold {fold + 1} of {folds}: {config.epochs} epochs", flush=True)
            learned = _pick(everything.images, inside)
            held_out = _pick(everything.images, outside)
            _save(path, _train(settings, config, learned, held_out, classes))
        table[outside] = inference.probabilities(np.load(path), 1.0)
    return table


def _save(path: Path, logits: NDArray[np.float32]) -> None:
    files.write_with(path, lambda part: np.save(part, logits))


def _pick(images: LabeledImages, rows: NDArray[np.int64]) -> LabeledImages:
    return LabeledImages(Subset(images.pixels, rows), images.labels[rows])


def _train(
    settings: train.Params,
    config: TrainingConfig,
    learned: LabeledImages,
    held_out: LabeledImages,
    classes: int,
) -> NDArray[np.float32]:
    """Logits of the images left out, by a network that learned from the others."""
    from components.core.training.loop import fit

    network, _ = models.create_model(settings.model, classes, config.seed)
    best: dict[str, object] = {}
    for epoch in fit(network, learned, held_out, config):
        best = epoch.state["best"]["network"]
    network.load_state_dict(best)
    return inference.predict_logits(network, held_out.pixels, device=config.device)


def write(everything: AllImages, found: Suspicion, probabilities: Floats, limit: int) -> Found:
    """Write the table and the page of the most suspicious labels.

    What is decided in the table that is there stays decided.

    Args:
        everything: all images.
        found: how suspicious their labels are.
        probabilities: (N, K).
        limit: at most so many rows that are not decided yet.

    Raises:
        InvalidParams: the table that is there cannot be read.
    """
    names, labels = everything.class_names, everything.images.labels
    keys = [(d, names[k]) for d, k in zip(everything.digests, labels, strict=True)]
    said, chosen = review_records.decisions(TABLE), review_records.confirmed(names)
    suspicious = found.order[: int(found.suspicious.sum())].tolist()
    unclear = [k for k in suspicious if keys[k] not in chosen]
    shown = {*unclear[:limit], *(k for k, key in enumerate(keys) if key in {*said} - chosen)}
    rows = [
        {
            "decision": said.get(keys[k], ""),
            "path": everything.paths[k],
            "label": names[labels[k]],
            "proposed": names[found.proposed[k]],
            "p_label": f"{probabilities[k, labels[k]]:.3f}",
            "p_proposed": f"{probabilities[k, found.proposed[k]]:.3f}",
            "split": everything.splits[k],
            "sha256": everything.digests[k],
        }
        for k in found.order.tolist()
        if k in shown
    ]
    page, total, left_out = FOLDER / "labels.html", len(keys), len(suspicious) - len(unclear)
    settings = params.load(SETTINGS, train.Params)
    text = labels_page(rows, total, train.Paths().images, settings.data.decode_params, left_out)
    files.write_csv(TABLE, COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    files.write_text(page, text)
    return Found(len(unclear), left_out, len(rows), total, TABLE, page)


def labels_page(
    rows: Sequence[Mapping[str, str]],
    total: int,
    images: Path,
    decode_params: ImageParams,
    confirmed: int = 0,
) -> str:
    """The first rows of the table with their images.

    Args:
        rows: of the table, all of them.
        total: images that were looked at.
        images: folder that the paths are relative to.
        decode_params: how bytes become pixels.
        confirmed: suspicious labels that are left out, since a person chose them.
    """
    shown = rows[:_SHOWN]
    paths = (row["path"] for row in shown)
    small = pages.to_uris(pages.thumbnails(images, paths, decode_params, side=160))
    return pages.render(
        "labels.html",
        rows=shown,
        images=small,
        listed=len(rows),
        total=total,
        confirmed=confirmed,
    )
