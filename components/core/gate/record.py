"""The decision: what was decided on which evidence, as it is stored.

artifacts/register/decision.json is a `DecisionRecord`, written by register for people and `replay`.
"""

from typing import Literal

from pydantic import Field

from components.core.artifacts import Artifact, Part
from components.core.data.data_diff import DataDiff
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy, Verdict


class Check(Part):
    """One condition of the gate with its outcome. A warning does not hold a model back."""

    name: str
    value: float | None
    wanted: str
    verdict: Verdict | Literal["warn"]
    reason: str


class Decision(Part):
    """The gate's answer: checks that failed come first."""

    verdict: Verdict
    first_model: bool = Field(description="There was no champion to compare with.")
    checks: list[Check]


class DecisionRecord(Artifact):
    """What register decided and did. Equal inputs and registry give equal bytes.

    `decision` follows from the other fields and the files they name: `replay` recomputes it.
    """

    decision: Decision
    policy: GatePolicy
    evidence: Evidence
    data_diff: DataDiff
    model_name: str
    version: str | None = Field(description="None when nothing was registered.")
