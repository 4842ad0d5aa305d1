"""What the gate will refuse whatever is trained: known from its policy and the test images alone.

Each sentence is certain: it is about the best model that there could be, and against a champion
about a model that is exactly as good. What depends on the model is left to the gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import numpy as np

from components.core.evaluation import intervals
from components.core.gate.bounds import percent
from components.core.gate.policy import GatePolicy
from components.core.phrases import count, listing

_SHOWN = 3
_MOST = 10_000_000  # test images; what even these cannot show is called impossible


@dataclass(frozen=True)
class HeldOut:
    """The test images, counted or expected.

    Attributes:
        counts: of each class, none included.
        group_sizes: test images of each group; None = each image is a group.
        share: of all images that the split gives to test; None = the split is the user's own.
    """

    counts: Mapping[str, int]
    group_sizes: Sequence[int] | None
    share: float | None

    @property
    def total(self) -> int:
        """Number of test images."""
        return sum(self.counts.values())

    @property
    def grouped(self) -> bool:
        """Whether two images belong together, so that they are not independent evidence."""
        return self.group_sizes is not None and len(self.group_sizes) < self.total

    @property
    def title(self) -> str:
        """The test images in words, with their groups if they are not independent."""
        words = count(self.total, "test image")
        if self.group_sizes is None or not self.grouped:
            return words
        return f"{words} in {count(len(self.group_sizes), 'group')}"

    def takes(self, test_images: int, of: str = "") -> str:
        """How many images a number of test images takes: "334 images of every class"."""
        if 0 < test_images <= self.total and not of:
            return "images of more groups"
        if self.share is None:
            return f"{test_images:,} test images{of}"
        return f"{images_needed(test_images, self.share):,} images{of}"


def expected_test_images(images: int, share: float) -> int:
    """Test images that a class of so many images gets at least, if none belong together.

    Args:
        images: of the class.
        share: of the images that go to test, `validate.split.test`.
    """
    # As written: 0.15 of 20 is 3, not the 2.9999 of a binary fraction.
    return max(math.floor(images * Fraction(str(share))), min(images // 3, 1))


def images_needed(test_images: int, share: float) -> int:
    """The least number of images of which `expected_test_images` are in test."""
    return math.ceil(test_images / Fraction(str(share)))


def foresee(policy: GatePolicy, test: HeldOut, model_mb: float | None = None) -> list[str]:
    """Why no model can pass, one sentence each; empty when one can.

    Args:
        policy: what is required.
        test: the images on which it is decided.
        model_mb: what the model will weigh at least, 10^6 bytes; None = not known.
    """
    total, found = test.total, list(_about_size(policy, test, model_mb))
    if total:
        found += [*_about_accuracy(policy, test), *_about_classes(policy, test)]
        found += _about_champion(policy, test)
    return found


def best_accuracy(policy: GatePolicy, total: int) -> float:
    """The highest lower bound of the accuracy that is not implausible, on independent images."""
    correct = _most_correct(policy.max_accuracy, total)
    return intervals.wilson_interval(correct, total, policy.confidence_level).low


def least_margin(confidence_level: float, total: int) -> float:
    """The smallest `non_inferiority_margin` that a model equal to the champion can show."""
    return -intervals.paired_lower_bound(0, 0, total, confidence_level)


def _about_size(policy: GatePolicy, test: HeldOut, model_mb: float | None) -> Iterator[str]:
    if test.total < policy.min_test_images:
        yield (
            f"{count(test.total, 'test image')}; min_test_images {policy.min_test_images:,} takes "
            f"{test.takes(policy.min_test_images)}"
        )
    required = policy.min_test_images_per_class
    few = {name: n for name, n in test.counts.items() if n < required}
    if few:
        worst = sorted(few, key=lambda name: (few[name], name))
        names = listing([f"{name} ({few[name]:,})" for name in worst], _SHOWN)
        yield (
            f"too few test images of {names}; min_test_images_per_class {required:,} takes "
            f"{test.takes(required, ' of every class')}"
        )
    if model_mb is not None and policy.max_model_mb is not None and model_mb > policy.max_model_mb:
        yield (
            f"the model will have {model_mb:.0f} MB, max_model_mb is {policy.max_model_mb:g}; "
            "raise it, or choose a smaller model.architecture"
        )


def _about_accuracy(policy: GatePolicy, test: HeldOut) -> Iterator[str]:
    best, bound = best_accuracy(policy, test.total), policy.min_accuracy
    if test.group_sizes is not None and test.grouped:
        sizes = np.array(test.group_sizes, dtype=np.int64)
        level = policy.confidence_level
        # All correct: wherever errors were, the bound would be lower.
        low = intervals.cluster_bootstrap_lower_bound(sizes, sizes, level, worst=0)
        best = min(best, low)
    if best < bound:
        enough = _least(lambda total: best_accuracy(policy, total) >= bound)
        remedy = f"takes {test.takes(enough)}" if enough else "is more than any number can show"
        confidence = percent(policy.confidence_level)
        yield (
            f"{test.title} can show an accuracy of {best:.3f} at most ({confidence} lower bound); "
            f"min_accuracy {bound:g} {remedy}"
        )


def _about_classes(policy: GatePolicy, test: HeldOut) -> Iterator[str]:
    """What `max_accuracy` leaves of bounds that only a model without an error meets."""
    if _most_correct(policy.max_accuracy, test.total) == test.total:
        return
    largest, second = (*sorted(test.counts.values(), reverse=True), 0)[:2]
    below = f"max_accuracy {policy.max_accuracy:g} asks for at least one error"
    # The one error that costs least: from the largest class to the second largest.
    lost = Fraction(1, 2 * largest - 1) + Fraction(1, 2 * second + 1)
    present = sum(1 for number in test.counts.values() if number)
    for name, best, bound in (
        ("min_class_recall", (largest - 1) / largest, policy.min_class_recall),
        ("min_macro_f1", float(1 - lost / present), policy.min_macro_f1),
    ):
        if best < bound:
            yield f"{below}, which leaves {best:.4f} at most for {name} {bound:g}; lower it"


def _about_champion(policy: GatePolicy, test: HeldOut) -> Iterator[str]:
    level = policy.confidence_level
    if policy.champion_test == "superior":
        gained = _most_correct(policy.max_accuracy_gain, test.total)
        p_value = intervals.sign_flip_p_value(np.ones(gained, dtype=np.int64), two_sided=True)
        if p_value >= 1 - level:
            yield (
                f"{test.title} cannot show that a model is better than a champion by a gain "
                "that max_accuracy_gain allows; have more images, or raise it"
            )
        return
    low, margin = -least_margin(level, test.total), policy.non_inferiority_margin
    if test.group_sizes is not None and test.grouped:
        sizes = np.array(test.group_sizes, dtype=np.int64)
        nets = np.zeros_like(sizes)
        low = min(low, intervals.cluster_bootstrap_lower_bound(sizes, nets, level, worst=-1))
    if low < -margin:
        z = NormalDist().inv_cdf((1 + level) / 2)
        # z^2 / (n + z^2) <= margin, the score interval without a discordant image
        enough = math.ceil(z * z * (1 / margin - 1)) if margin else 0
        remedy = f"takes {test.takes(enough)}" if enough else "can be shown by no number of them"
        yield (
            f"{test.title} cannot show that a model equal to a champion is not worse: at least "
            f"{-low:.3f} is left open; non_inferiority_margin {margin:g} {remedy}"
        )


def _most_correct(bound: float | None, total: int) -> int:
    """The largest number of `total` images whose share does not exceed the bound."""
    if bound is None:
        return total
    most = round(bound * total)
    # Divided as the gate divides: 7 of 10 equals 0.7.
    return most if most / total <= bound else most - 1


def _least(enough: Callable[[int], bool]) -> int:
    """About the smallest number that is enough; 0 when none is."""
    low, high = 0, 1
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST:
            return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
