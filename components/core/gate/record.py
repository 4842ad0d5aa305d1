"""The decision: what was decided on which evidence, as it is stored.

artifacts/register/decision.json is a `DecisionRecord`, written by register for people and for
`verify-decision`.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from components.core.artifacts import Artifact, Part, Share
from components.core.data.data_diff import DataDiff
from components.core.gate import version_1
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy, Verdict

# skipped = not evaluated, or nothing is required; warn = stated, but no obstacle.
CheckStatus = Literal["pass", "fail", "warn", "skipped", "error"]


class Check(Part):
    """One condition of the gate, as it came out."""

    name: str
    value: float | None = Field(description="None when nothing was measured.")
    threshold: str
    status: CheckStatus
    message: str


class Accuracy(Part):
    """Share of test images classified correctly, with its 95 % Wilson interval."""

    value: Share
    low: Share
    high: Share
    num_images: int = Field(ge=1)


class Outcome(Part):
    """What the gate decided: checks that failed come first."""

    verdict: Verdict
    first_model: bool = Field(description="There was no champion to compare with.")
    accuracy: Accuracy | None = Field(
        description="Computed from the predictions. None when they are invalid, and in version 1."
    )
    checks: list[Check]


class DecisionRecord(Artifact):
    """What register decided and did. Equal inputs and registry give equal bytes.

    `outcome` follows from the other fields and the files they name: `verify-decision` recomputes
    it. Records of schema version 1 are read too.
    """

    outcome: Outcome
    policy: GatePolicy
    evidence: Evidence
    data_diff: DataDiff
    model_name: str
    version: str | None = Field(description="None when nothing was registered.")

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, raw: Any) -> Any:
        return version_1.upgrade(raw)
