"""How many of 5 % planted wrong labels `python -m pipeline review-labels` puts first.

Run in a project that is validated and tuned: python -m bench.label_review --epochs 15

Precision and recall are of the top 5 % of the ranking over all splits: as many are listed as were
planted, so the two are equal. A fold takes as long as a training; what is done is kept in cache/,
and the same command goes on there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from components import train
from components.core.evaluation import label_issues
from components.core.training.loop import LabeledImages
from components.io import params
from pipeline import SETTINGS, label_review


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Planted wrong labels.")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="default: those that train would take")
    parser.add_argument("--image-size", type=int, help="default: model.image_size")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    settings = params.load(SETTINGS, train.Params)
    if options.image_size:
        model = settings.model.model_copy(update={"image_size": options.image_size})
        settings = replace(settings, model=model)
    if options.epochs:
        length = settings.train.model_copy(update={"epochs": options.epochs})
        settings = replace(settings, train=length)
    everything = label_review.open_all(settings)
    rng = np.random.default_rng(options.seed)
    labels, classes = everything.images.labels.copy(), len(everything.class_names)
    wrong = rng.choice(len(labels), round(options.share * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
    planted = replace(
        everything,
        images=LabeledImages(everything.images.pixels, labels),
        data_digest=f"{everything.data_digest} planted {options.share} {options.seed}",
    )
    table = label_review.out_of_fold(planted, settings, options.folds, Path("cache"))
    found = label_issues.find(table, labels)
    first = set(found.order[: len(wrong)].tolist()) & set(wrong.tolist())
    true = everything.images.labels
    right = np.mean([found.proposed[k] == true[k] for k in first]) if first else 0.0
    print(f"images {len(labels):,}, planted {len(wrong):,}, suspicious {found.suspicious.sum():,}")
    print(f"accuracy out of fold, true labels: {np.mean(table.argmax(axis=1) == true):.3f}")
    print(f"precision = recall of the top {len(wrong):,}: {len(first) / len(wrong):.3f}")
    print(f"proposed class right for {right:.3f} of them")


if __name__ == "__main__":
    main()
