"""How often the gate is wrong, and what it can see: its own checks on simulated pairs of models.

Run: python -m bench.gate [--plot docs/gate_power.png]   (a minute on 2 cores; same every time)

A pair is drawn image by image: with the chances `gain` and `loss` only the new or only the old
model is right. Equal models have gain = loss. Printed are the share of wrong decisions, what the
policy allows (half of 1 - confidence_level: only one direction does harm), and the power to see a
true difference. The worst level of the paired interval is computed exactly, not drawn.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.evaluation import intervals
from components.core.evaluation.predictions import Predictions
from components.core.gate.champion_checks import champion, per_class_regression
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.gate_input import GateInput
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Check
from components.io.reports.plots.canvas import BLUE, GREEN, ORANGE, saved_figure

Bools = NDArray[np.bool_]

PAIRS = 2000
POLICY = GatePolicy(
    confidence_level=0.95,
    min_accuracy=0.0,
    min_macro_f1=0.0,
    min_class_recall=0.0,
    min_test_images=1,
    min_test_images_per_class=1,
    max_ece=None,
    max_accuracy=None,
    max_model_mb=None,
    max_latency_ms=None,
    champion_test="superior",
    non_inferiority_margin=0.05,
    max_class_recall_drop=0.10,
    max_accuracy_gain=None,
    max_test_set_uses=20,
)
SUPERIOR = POLICY
NOT_WORSE = POLICY.model_copy(update={"champion_test": "non_inferior"})
ALLOWED = (1 - POLICY.confidence_level) / 2

# One of the two checks that depend on nothing but who is correct.
Rule = Callable[[GateInput], Check]


def passes(
    rule: Rule,
    policy: GatePolicy,
    before: Bools,
    after: Bools,
    *,
    labels: Sequence[int] = (),
    groups: Sequence[int] = (),
    uses: int = 0,
) -> bool:
    """Whether a model passes.

    Args:
        rule: the check.
        policy: what is required.
        before: (N,) whether the champion is correct.
        after: (N,) whether the model is correct.
        labels: of the images; otherwise all are of one class.
        groups: of the images; otherwise each is its own.
        uses: models evaluated on these images before.
    """
    true = np.array(labels or [0] * len(before), dtype=np.int64)
    wrong = int(true.max()) + 1
    names, paths = [f"class {k}" for k in range(wrong + 1)], [f"{n}" for n in range(len(before))]
    together = [f"{group}" for group in groups] or paths
    nothing = np.empty((0, 0))
    model, champion_predictions = (
        Predictions(names, paths, together, true, np.where(right, true, wrong), nothing)
        for right in (after, before)
    )
    evidence = Evidence(
        class_names=names,
        model_digest="",
        data_digest="",
        test_digest="",
        evaluation_sha256="",
        predictions_sha256="",
        model_bytes=0,
        latency_p95_ms=None,
        previous_test_uses=uses,
        leaked_test_images=0,
        revoked_reason="",
        champion=ChampionEvidence(
            state="compared", model_digest="", predictions_sha256="", reason=""
        ),
    )
    return rule(GateInput(policy, evidence, model, champion_predictions)).status == "pass"


def draw(
    random: np.random.Generator, images: int, gain: float, loss: float, accuracy: float = 0.85
) -> tuple[Bools, Bools]:
    """Who is right: the champion and the model, each (N,)."""
    place = random.random(images)
    gained, lost = place < gain, (place >= gain) & (place < gain + loss)
    both = place > 1 - (accuracy - loss)
    return both | lost, both | gained


def rate(
    rule: Rule, policy: GatePolicy, images: int, gain: float, loss: float, *, pairs: int = PAIRS
) -> float:
    """Share of pairs in which the model passes."""
    random = np.random.default_rng([images, round(1e4 * gain), round(1e4 * loss)])
    return (
        sum(passes(rule, policy, *draw(random, images, gain, loss)) for _ in range(pairs)) / pairs
    )


def grouped_rate(policy: GatePolicy, groups: int, size: int, gain: float, loss: float) -> float:
    """The same, where all images of a group change together."""
    random = np.random.default_rng([groups, size])
    names = np.repeat(np.arange(groups), size).tolist()
    passed = 0
    for _ in range(PAIRS):
        before, after = (np.repeat(r, size) for r in draw(random, groups, gain, loss))
        passed += passes(champion, policy, before, after, groups=names)
    return passed / PAIRS


def exact_rate(policy: GatePolicy, images: int, gain: float, loss: float) -> float:
    """Chance that a model passes, summed over all counts instead of drawn."""
    from scipy.stats import binom

    def enough(gained: int, changed: int) -> bool:
        if policy.champion_test == "superior":
            nets = np.repeat([1, -1], [gained, changed - gained])
            chance = intervals.sign_flip_p_value(nets, two_sided=True)
            return 2 * gained > changed and chance < 1 - policy.confidence_level
        lost = changed - gained
        return (
            intervals.paired_lower_bound(gained, lost, images, policy.confidence_level)
            >= -policy.non_inferiority_margin
        )

    mean = images * (gain + loss)
    first, last = (int(mean + sign * (8 * math.sqrt(mean) + 10)) for sign in (-1, 1))
    chance, fewest = 0.0, 0
    for changed in range(max(0, first), min(images, last) + 1):
        # One more changed image needs no fewer gains, and at most one more.
        while fewest <= changed and not enough(fewest, changed):
            fewest += 1
        passing = binom.sf(fewest - 1, changed, gain / (gain + loss))
        chance += float(binom.pmf(changed, images, gain + loss) * passing)
        fewest = max(0, fewest - 1)
    return chance


def class_rate(images: int, drop: float, *, pairs: int) -> float:
    """Share of pairs that `per-class regression` fails: 20 classes, of which the first drops.

    The others gain two points of recall if it drops, so that the mean rises; else all are equal.
    """
    random = np.random.default_rng([images, round(100 * drop)])
    labels = np.repeat(np.arange(20), images).tolist()
    failed = 0
    for _ in range(pairs):
        first = draw(random, images, 0.03, 0.03 + drop, 0.9)
        others = draw(random, 19 * images, 0.05 + 0.02 * (drop > 0), 0.05, 0.9)
        before, after = (np.concatenate(side) for side in zip(first, others, strict=True))
        failed += not passes(per_class_regression, POLICY, before, after, labels=labels)
    return failed / pairs


def reuse(allowed: int, *, rounds: int = 100, candidates: int = 100) -> tuple[float, float]:
    """Candidates in a row, all as good as the champion, on one test set of 500 images.

    Returns:
        Share of candidates that pass, and share of rounds in which any does.
    """
    random = np.random.default_rng(7)
    policy = SUPERIOR.model_copy(update={"max_test_set_uses": allowed})
    passed = np.zeros((rounds, candidates), dtype=np.bool_)
    for place in np.ndindex(rounds, candidates):
        pair = draw(random, 500, 0.06, 0.06)
        passed[place] = passes(champion, policy, *pair, uses=place[1])
    return float(passed.mean()), float(passed.any(axis=1).mean())


def show(what: str, found: float, expected: str, *, pairs: int = PAIRS) -> None:
    """One row of the table, with the standard error of the draws."""
    error = math.sqrt(found * (1 - found) / pairs)
    print(f"{what:<68}{found:>8.2%} +-{error:>6.2%}  {expected}")


def print_errors() -> None:
    """How often a model passes that should not."""
    pairs = {"superior": (SUPERIOR, 0.06, 0.06), "non_inferior": (NOT_WORSE, 0.035, 0.085)}
    what = {"superior": "equal models", "non_inferior": "models worse by the margin 0.05"}
    for rule, (policy, gain, loss) in pairs.items():
        for images in (200, 500, 2000):
            exact = exact_rate(policy, images, gain, loss)
            expected = f"<= {ALLOWED:.2%}; exactly {exact:.2%}"
            found = rate(champion, policy, images, gain, loss)
            show(f"{rule}: {what[rule]} pass, {images:,} images", found, expected)
        for groups in (20, 100):
            found = grouped_rate(policy, groups, 5, gain, loss)
            show(f"{rule}: the same, {groups} groups of 5 images", found, f"<= {ALLOWED:.2%}")
    worst = max(
        (exact_rate(NOT_WORSE.model_copy(update={"non_inferiority_margin": margin}), images,
                    (share - margin) / 2, (share + margin) / 2), images, margin, share)
        for images in (100, 200, 500, 1000)
        for margin in (0.01, 0.02, 0.05)
        for share in (0.055, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
    )  # fmt: skip
    print(f"non_inferior: exact worst of 84 kinds of pairs {worst[0]:.2%} ({worst[1]} images, "
          f"margin {worst[2]}, {worst[3]:.1%} differ)")  # fmt: skip


def print_classes() -> None:
    """One class of 20 drops by 15 points while the mean rises."""
    what = "per-class regression: equal models fail, 20 classes of"
    show(f"{what} 50 images", class_rate(50, 0.0, pairs=PAIRS), f"<= {ALLOWED:.2%}")
    show(f"{what} 200 images", class_rate(200, 0.0, pairs=500), f"<= {ALLOWED:.2%}", pairs=500)
    for images in (50, 100, 150, 200, 250, 300):
        what = f"per-class regression: a drop of 0.15 in 1 of 20 fails, {images} images each"
        expected = ">= 95 %" if images >= 250 else ""
        show(what, class_rate(images, 0.15, pairs=500), expected, pairs=500)


def print_reuse() -> None:
    """What 100 lucky tries on one test set bring."""
    for allowed, name in ((10**6, "all"), (20, "20"), (1, "1")):
        each, any_of_them = reuse(allowed)
        what = f"test-set reuse: 100 equal candidates in a row, {name} uses allowed: "
        show(f"{what}each", each, f"<= {ALLOWED:.2%}", pairs=10_000)
        show(f"{what}any", any_of_them, "", pairs=100)


def draw_power(path: Path) -> None:
    """Print and draw how often a true difference is seen."""
    sizes = {200: ORANGE, 500: BLUE, 2000: GREEN}
    gains = [-0.06, -0.05, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.10]
    rules = {"superior": SUPERIOR, "non_inferior, margin 0.05": NOT_WORSE}
    title = (
        "How often the gate lets a model pass, by its true gain (12 % of the predictions differ)"
    )
    with saved_figure(path, 9, 3.8, title) as figure:
        for axes, (name, policy) in zip(figure.subplots(1, 2), rules.items(), strict=True):
            print(f"\npasses, {name}\ntrue gain  " + "".join(f"{g:>+8.2f}" for g in gains))
            for images, color in sizes.items():
                power = [
                    rate(champion, policy, images, 0.06 + g / 2, 0.06 - g / 2, pairs=300)
                    for g in gains
                ]
                print(f"{images:>6,}     " + "".join(f"{p:>8.2f}" for p in power))
                axes.plot(gains, power, color=color, marker=".", label=f"{images:,} images")
            axes.set(title=name, xlabel="true gain in accuracy", ylabel="share that passes")
            axes.legend()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plot", type=Path, default=Path("docs/gate_power.png"))
    options = parser.parse_args()
    print_errors()
    print_classes()
    print_reuse()
    draw_power(options.plot)


if __name__ == "__main__":
    main()
