"""The decision: what it demands, what it is about, what came out. `gate` makes it.

artifacts/register/decision.json is a `Receipt`, written by register for people and `replay`.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from components.core.artifacts import Artifact, Part, Share

Verdict = Literal["promote", "hold", "error"]


class GatePolicy(Part):
    """What a model must reach, section `register.gate`. A value that equals its bound passes.

    null switches a bound off where it is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    confidence: float = Field(ge=0.5, lt=1, description="Two-sided, of every interval and test.")
    min_accuracy: Share = Field(description="Reached by the lower end of the interval.")
    min_macro_f1: Share
    min_class_recall: Share = Field(description="Of every class.")
    min_test_images: int = Field(ge=1)
    min_test_images_per_class: int = Field(ge=1)
    max_ece: Share | None = Field(description="Expected calibration error.")
    max_accuracy: Share | None = Field(description="More is too good to be believed unseen.")
    max_model_mb: float | None = Field(
        gt=0, allow_inf_nan=False, description="All files of the model, 10^6 bytes."
    )
    max_latency_ms: float | None = Field(
        gt=0, allow_inf_nan=False, description="95th percentile of one picture."
    )
    against_champion: Literal["non_inferior", "superior"]
    margin: Share = Field(description="Accuracy that a non-inferior model may lose.")
    max_class_loss: Share = Field(description="Recall that a class may lose.")
    max_gain: Share | None = Field(description="A larger gain is too good to be believed unseen.")
    free_test_uses: int = Field(ge=1, description="Models judged on one test set untightened.")


class Incumbent(Part):
    """The champion at the moment of the decision.

    Attributes:
        state: none = there is no champion yet; same = it is this very model; compared = it answered
            the same test images just now; other_classes = it knows other classes, so no comparison
            is possible; unusable = there is one, but it cannot be loaded, or nobody recorded that
            it became champion.
    """

    state: Literal["none", "same", "compared", "other_classes", "unusable"]
    model_digest: str = Field(description="Empty when there is none.")
    predictions_sha256: str = Field(description="Of its answers; empty unless compared.")
    reason: str = Field(description="Of other_classes and unusable: what is wrong; else empty.")


class Evidence(Part):
    """What the gate judges besides the answers themselves, bound by digests."""

    class_names: list[str] = Field(description="In the order of the model's outputs.")
    model_digest: str = Field(description="Of the model folder.")
    data_digest: str
    test_digest: str
    evaluation_sha256: str
    predictions_sha256: str
    model_bytes: int = Field(ge=0)
    latency_p95_ms: float | None = Field(
        gt=0, allow_inf_nan=False, description="None unless the policy bounds it."
    )
    earlier_uses: int = Field(ge=0, description="Other models evaluated on this test set before.")
    shared_with_training: int = Field(
        ge=0, description="Test images whose pixels or group are also in train or val."
    )
    withdrawn: str = Field(description="Why only a person may promote this model; else empty.")
    champion: Incumbent


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


class ShareShift(Part):
    """How a class's share of all images changed."""

    name: str
    before: Share
    now: Share


class DataDiff(Part):
    """How the data differ from the champion's, by pixels: renamed files are the same files.

    Attributes:
        baseline: data digest of the champion's data; empty = there is no baseline, and all else is
            zero.
        examples: up to five paths of each kind: added, removed, relabelled, moved.
    """

    baseline: str
    unchanged: int
    added: int
    removed: int
    relabelled: int
    moved: int = Field(description="Between splits.")
    largest_shift: ShareShift | None = Field(description="None without a baseline.")
    examples: dict[str, list[str]]


class Receipt(Artifact):
    """What register decided and did. Equal inputs and registry give equal bytes.

    `decision` follows from the other fields and the files they name: `replay` recomputes it.
    """

    decision: Decision
    policy: GatePolicy
    evidence: Evidence
    data_diff: DataDiff
    model_name: str
    version: str | None = Field(description="None when nothing was registered.")
