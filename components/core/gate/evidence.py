"""What the gate decides about, bound by digests."""

from typing import Literal

from pydantic import Field

from components.core.artifacts import Part


class ChampionEvidence(Part):
    """The champion at the moment of the decision."""

    state: Literal["none", "same", "compared", "all_seen", "other_classes", "unusable"] = Field(
        description="none: there is no champion yet; same: it is this very model; compared: it was "
        "evaluated on the same test images just now; all_seen: all of them were in its train or "
        "val split; other_classes: it knows other classes, so no comparison is possible; unusable: "
        "it cannot be loaded, or nobody recorded its promotion."
    )
    model_digest: str = Field(description="Empty when there is none.")
    predictions_sha256: str = Field(description="Of its predictions; empty unless compared.")
    seen_test_images: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda value: value == 0,  # records of before have no such entry
        description="Test images that were in its train or val split, or whose near duplicates "
        "were: it is not compared on them. Absent when there are none.",
    )
    reason: str = Field(description="Of other_classes and unusable: what is wrong; else empty.")


class Evidence(Part):
    """What the gate decides on besides the predictions themselves, bound by digests."""

    class_names: list[str] = Field(description="In the order of the model's outputs.")
    model_digest: str = Field(description="Of the model folder.")
    data_digest: str = Field(description="Names the data set.")
    test_digest: str = Field(description="Names the test images with their labels.")
    evaluation_sha256: str = Field(description="Of evaluation.json.")
    predictions_sha256: str = Field(description="Of predictions.parquet.")
    model_bytes: int = Field(ge=0, description="All files of the model folder.")
    latency_p95_ms: float | None = Field(
        gt=0, allow_inf_nan=False, description="None unless the policy bounds it."
    )
    previous_test_uses: int = Field(
        ge=0, description="Other models evaluated on this test set before."
    )
    leaked_test_images: int = Field(
        ge=0, description="Test images whose pixels or group are also in train or val."
    )
    revoked_reason: str = Field(description="Why only a person may promote this model; else empty.")
    champion: ChampionEvidence = Field(description="What it was compared with.")
