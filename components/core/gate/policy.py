"""What a model must reach: section `register.gate` of params.yaml."""

from typing import Literal

from pydantic import ConfigDict, Field

from components.core.artifacts import Part, Share

# blocked = not promoted by itself; a person may approve it. Nobody can approve an error.
Verdict = Literal["passed", "blocked", "error"]


class GatePolicy(Part):
    """What a model must reach, section `register.gate`. A value that equals its bound passes.

    null switches a bound off where it is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    confidence_level: float = Field(
        ge=0.5, lt=1, description="Two-sided, of every interval and test."
    )
    min_accuracy: Share = Field(description="For the lower confidence bound of the accuracy.")
    min_macro_f1: Share = Field(description="For the mean of the classes' F1.")
    min_class_recall: Share = Field(description="For every class.")
    min_test_images: int = Field(ge=1, description="Fewer images prove too little.")
    min_test_images_per_class: int = Field(ge=1, description="For every class.")
    max_ece: Share | None = Field(description="Expected calibration error (ECE).")
    max_accuracy: Share | None = Field(
        description="A higher accuracy is implausible: a person must look."
    )
    max_model_mb: float | None = Field(
        gt=0, allow_inf_nan=False, description="All files of the model, 10^6 bytes."
    )
    max_latency_ms: float | None = Field(
        gt=0, allow_inf_nan=False, description="95th percentile for one image."
    )
    champion_test: Literal["non_inferior", "superior"] = Field(
        description="Required against the champion on the same test images."
    )
    non_inferiority_margin: Share = Field(
        description="Accuracy that a non-inferior model may lose."
    )
    max_class_recall_drop: Share = Field(
        description="Recall that a class may lose, beyond what chance explains."
    )
    max_accuracy_gain: Share | None = Field(
        description="A larger gain is implausible: a person must look."
    )
    max_test_set_uses: int = Field(
        ge=1, description="Models evaluated on one test set before every test becomes stricter."
    )
