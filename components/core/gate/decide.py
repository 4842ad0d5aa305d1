"""The gate: whether a model may become champion. Pure: a policy and evidence in, a decision out.

Every check always runs and the worst verdict wins. Anything missing, not finite or contradictory is
`error`; a missed bound, or too few images to tell, is `hold`; only the rest is `promote`.
"""

from __future__ import annotations

from components.core.artifacts import Evaluation
from components.core.evaluation.predictions import Predictions
from components.core.gate.checks import CHECKS
from components.core.gate.evidence import Evidence
from components.core.gate.evidence_validation import InvalidEvidence, build_case
from components.core.gate.gate_input import outcome
from components.core.gate.policy import GatePolicy, Verdict
from components.core.gate.record import Check, Decision

_SEVERITY = {"error": 3, "hold": 2, "warn": 1, "promote": 0}


def decide(
    policy: GatePolicy,
    evidence: Evidence,
    stated: Evaluation,
    answers: Predictions,
    rival: Predictions | None,
) -> Decision:
    """The verdict with its reasons, failing checks first. Total: it answers on any input.

    Args:
        policy: what is demanded.
        evidence: digests, sizes and the champion's state.
        stated: what evaluate found; every number that follows from the answers is recomputed.
        answers: of the model to the test images.
        rival: of the champion to the same images, its classes in any order; given exactly when it
            is `compared`.
    """
    try:
        case = build_case(policy, evidence, stated, answers, rival)
        checks = [check(case) for check in CHECKS]
    except InvalidEvidence as flaw:
        return _refuse(str(flaw))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, nothing gets promoted
        return _refuse(f"cannot be judged: {type(error).__name__}: {' '.join(str(error).split())}")
    checks.append(_evidence_check("promote", "complete, and all numbers follow from the answers"))
    checks.sort(key=lambda check: -_SEVERITY[check.verdict])
    worst = checks[0].verdict
    return Decision(
        verdict="promote" if worst == "warn" else worst,
        first_model=case.evidence.champion.state == "none",
        checks=checks,
    )


def _refuse(reason: str) -> Decision:
    check = _evidence_check("error", reason)
    return Decision(verdict="error", first_model=False, checks=[check])


def _evidence_check(verdict: Verdict, reason: str) -> Check:
    return outcome("evidence", None, "complete and consistent", verdict, reason)
