"""Which of several models to take when: the most accurate one, and those it does not surpass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from components.core.evaluation.intervals import sign_flip_p_value, sum_by_group
from components.core.phrases import listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Above it, chance alone may have made the difference.
LEVEL = 0.05


class Model(NamedTuple):
    """A model that was measured on the same images as the others.

    Attributes:
        name: for people.
        correct: (N,) 1 where its prediction is right, 0 elsewhere.
        megabytes: of its folder.
        milliseconds: for one image.
    """

    name: str
    correct: NDArray[np.int64]
    megabytes: float
    milliseconds: float


def as_good_as_the_best(models: Sequence[Model], groups: Sequence[str]) -> list[Model]:
    """The most accurate model, then those that are worse by no more than chance may do.

    By the exact test of two equally good models on the same images, groups whole.
    """
    ranked = sorted(models, key=lambda model: -int(model.correct.sum()))
    best, *others = ranked
    equal = [other for other in others if _p_value(best, other, groups) > LEVEL]
    return [best, *equal]


def _p_value(best: Model, other: Model, groups: Sequence[str]) -> float:
    _, nets = sum_by_group(groups, best.correct - other.correct)
    return sign_flip_p_value(nets, two_sided=True)


def advise(models: Sequence[Model], groups: Sequence[str]) -> list[str]:
    """What to take when, in sentences.

    Args:
        models: at least one.
        groups: (N,) of the images that all of them predicted.
    """
    good = as_good_as_the_best(models, groups)
    best, images = good[0], len(groups)
    smallest = min(good, key=lambda model: model.megabytes)
    fastest = min(good, key=lambda model: model.milliseconds)
    lines = [f"most accurate: {best.name}, {best.correct.mean():.3f} on {images:,} images of val"]
    if len(good) > 1:
        names = listing([model.name for model in good[1:]], 4)
        lines.append(f"not worse than that by more than chance may do: {names}")
    lines.append(f"where size counts: {smallest.name}, {smallest.megabytes:.1f} MB")
    lines.append(f"where time counts: {fastest.name}, {fastest.milliseconds:.1f} ms an image")
    if len(good) < len(models):
        names_of_good = {model.name for model in good}
        worse = [model.name for model in models if model.name not in names_of_good]
        lines.append(f"less accurate on these data and this budget: {listing(worse, 4)}")
    return lines
