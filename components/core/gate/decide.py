"""The gate: whether a model may become champion. Pure: a policy and evidence in, an outcome out.

Every check always runs and the worst status wins. Anything missing, not finite or contradictory is
an `error`; a missed bound, or too few images to tell, is `blocked`; only the rest is `passed`.
"""

from __future__ import annotations

from components.core.evaluation.intervals import wilson_interval
from components.core.evaluation.predictions import Predictions
from components.core.gate.bounds import make_check
from components.core.gate.checks import CHECKS
from components.core.gate.evidence import Evidence
from components.core.gate.evidence_validation import InvalidEvidence, build_gate_input
from components.core.gate.policy import GatePolicy, Verdict
from components.core.gate.record import Accuracy, Check, CheckStatus, Outcome

_SEVERITY: dict[CheckStatus, int] = {"error": 3, "fail": 2, "warn": 1, "pass": 0, "skipped": 0}
_VERDICTS: dict[CheckStatus, Verdict] = {"error": "error", "fail": "blocked"}


def decide(
    policy: GatePolicy,
    evidence: Evidence,
    predictions: Predictions,
    champion_predictions: Predictions | None,
) -> Outcome:
    """The verdict with its checks, failed ones first. Total: any input gives an outcome.

    Args:
        policy: what is required.
        evidence: digests, sizes and the champion's state.
        predictions: of the model for the test images; every number is computed from them.
        champion_predictions: of the champion for the same images, its classes in any order; given
            exactly when it is `compared`.
    """
    try:
        found = build_gate_input(policy, evidence, predictions, champion_predictions)
        checks = [check(found) for check in CHECKS]
    except InvalidEvidence as flaw:
        return _refuse(str(flaw))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, nothing gets promoted
        text = " ".join(str(error).split())
        return _refuse(f"cannot be evaluated: {type(error).__name__}: {text}")
    checks.append(_evidence_check("pass", "complete and consistent"))
    checks.sort(key=lambda check: -_SEVERITY[check.status])
    return Outcome(
        verdict=_VERDICTS.get(checks[0].status, "passed"),
        first_model=found.evidence.champion.state == "none",
        accuracy=measure_accuracy(found.predictions),
        checks=checks,
    )


def measure_accuracy(predictions: Predictions) -> Accuracy:
    """Share of correct predictions with its 95 % Wilson interval; of at least one image."""
    correct, total = int(predictions.correct.sum()), len(predictions.labels)
    low, high = wilson_interval(correct, total, 0.95)
    return Accuracy(value=correct / total, low=low, high=high, num_images=total)


def _refuse(message: str) -> Outcome:
    check = _evidence_check("error", message)
    return Outcome(verdict="error", first_model=False, accuracy=None, checks=[check])


def _evidence_check(status: CheckStatus, message: str) -> Check:
    return make_check("evidence", None, "complete and consistent", status, message)
