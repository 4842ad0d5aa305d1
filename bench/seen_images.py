"""What the gate decides about a model that equals the champion, when the champion has seen images.

Both models are right on unseen images with the same probability; on images that were in its train
split, the champion is right more often. Compared are: counting these images, and leaving them out.

    python -m bench.seen_images

Prints how often the checks against the champion pass, of 400 draws each.
"""

from __future__ import annotations

import numpy as np

from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.policy import GatePolicy

IMAGES, DRAWS = 334, 400
UNSEEN, SEEN = 0.85, 0.99  # accuracy; the champion's on images that it learned from
DIGEST = "a" * 64


def main() -> None:
    """Print the table."""
    print(f"{IMAGES} images; passes the checks against the champion, of {DRAWS} draws")
    print("seen    true difference   counted in   left out")
    for seen in (0.0, 0.1, 0.2, 0.4):
        for difference in (0.0, -0.10):
            shares = [_passes(seen, difference, leave_out=leave_out) for leave_out in (False, True)]
            print(f"{seen:4.0%}    {difference:+15.2f}   {shares[0]:10.1%}   {shares[1]:8.1%}")


def _passes(seen: float, difference: float, *, leave_out: bool) -> float:
    rng = np.random.default_rng(0)
    return sum(_draw(rng, seen, difference, leave_out) for _ in range(DRAWS)) / DRAWS


def _draw(rng: np.random.Generator, seen: float, difference: float, leave_out: bool) -> bool:
    """One test set: how hard an image is, is common to both models, as it is in life."""
    hard = rng.random(IMAGES)
    known = np.arange(IMAGES) < round(seen * IMAGES)
    own = rng.random((2, IMAGES))
    chances = 0.7 * hard + 0.3 * own  # common and own luck
    bound = np.quantile(0.7 * rng.random(100_000) + 0.3 * rng.random(100_000), [UNSEEN, SEEN])
    worse = np.quantile(0.7 * rng.random(100_000) + 0.3 * rng.random(100_000), UNSEEN + difference)
    right = [chances[0] < worse, chances[1] < np.where(known, bound[1], bound[0])]
    model, champion = (_predictions(each) for each in right)
    count = int(known.sum()) if leave_out else 0
    evidence = Evidence(
        class_names=model.class_names, model_digest=DIGEST, data_digest=DIGEST, test_digest=DIGEST,
        evaluation_sha256=DIGEST, predictions_sha256=DIGEST, model_bytes=1, latency_p95_ms=None,
        previous_test_uses=0, leaked_test_images=0, revoked_reason="",
        champion=ChampionEvidence(
            state="compared", model_digest="b" * 64, predictions_sha256=DIGEST, reason="",
            seen_test_images=count,
        ),
    )  # fmt: skip
    outcome = decide(POLICY, evidence, model, champion.among(champion.paths[count:]))
    names = ("champion", "per-class regression")
    return all(check.status == "pass" for check in outcome.checks if check.name in names)


def _predictions(right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Predictions:
    labels = np.arange(IMAGES) % 2
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.full((IMAGES, 2), 0.1)
    probabilities[np.arange(IMAGES), predicted] = 0.9
    paths = [f"{k:04}" for k in range(IMAGES)]
    return Predictions(["a", "b"], paths, paths, labels, predicted, probabilities)


POLICY = GatePolicy(
    confidence_level=0.95, min_accuracy=0.0, min_macro_f1=0.0, min_class_recall=0.0,
    min_test_images=1, min_test_images_per_class=1, max_ece=None, max_accuracy=None,
    max_model_mb=None, max_latency_ms=None, champion_test="non_inferior",
    non_inferiority_margin=0.05, max_class_recall_drop=0.1, max_accuracy_gain=None,
    max_test_set_uses=20,
)  # fmt: skip


if __name__ == "__main__":
    main()
