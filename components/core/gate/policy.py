"""What a model must reach: section `register.gate` of params.yaml."""

from typing import Literal

from pydantic import ConfigDict, Field

from components.core.artifacts import Part, Share

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
    champion_test: Literal["non_inferior", "superior"]
    margin: Share = Field(description="Accuracy that a non-inferior model may lose.")
    max_class_recall_drop: Share = Field(description="Recall that a class may lose.")
    max_accuracy_gain: Share | None = Field(
        description="A larger gain is too good to be believed unseen."
    )
    max_test_set_uses: int = Field(ge=1, description="Models judged on one test set untightened.")
