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

    name: str = Field(description="The same in every record.")
    value: float | None = Field(description="None when nothing was measured.")
    threshold: str = Field(description="What the value had to meet, in words.")
    status: CheckStatus = Field(
        description="skipped: not evaluated, or no bound; warn: no obstacle."
    )
    message: str = Field(description="What was found and what would be right, in one sentence.")


class Accuracy(Part):
    """Share of test images classified correctly, with its 95 % Wilson interval."""

    value: Share = Field(description="Correct predictions / test images.")
    low: Share = Field(description="Lower end of the interval.")
    high: Share = Field(description="Upper end of the interval.")
    num_images: int = Field(ge=1, description="Test images.")


class Outcome(Part):
    """What the gate decided: checks that failed come first."""

    verdict: Verdict = Field(
        description="passed: promoted; blocked: a person may approve; error: nobody may."
    )
    first_model: bool = Field(description="There was no champion to compare with.")
    accuracy: Accuracy | None = Field(
        description="Computed from the predictions. None when they are invalid, and in version 1."
    )
    checks: list[Check] = Field(
        description="Errors and failures first, then in the order of the table above."
    )


class DecisionRecord(Artifact):
    """What register decided and did. Equal inputs and registry give equal bytes.

    `outcome` follows from the other fields and the files they name: `verify-decision` recomputes
    it. Records of schema version 1 are read too.
    """

    outcome: Outcome = Field(description="What came out.")
    policy: GatePolicy = Field(description="What was required: `register.gate` of params.yaml.")
    evidence: Evidence = Field(description="What it was decided on, besides the predictions.")
    data_diff: DataDiff = Field(description="How the data differ from those of the champion.")
    model_name: str = Field(description="Registered model.")
    version: str | None = Field(description="Of the model; None when nothing was registered.")

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, raw: Any) -> Any:
        return version_1.upgrade(raw)
