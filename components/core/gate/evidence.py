"""What the gate decides about, bound by digests."""

from typing import Literal

from pydantic import Field

from components.core.artifacts import Part


class ChampionEvidence(Part):
    """The champion at the moment of the decision.

    Attributes:
        state: none = there is no champion yet; same = it is this very model; compared = it was
            evaluated on the same test images just now; other_classes = it knows other classes, so
            no comparison is possible; unusable = there is one, but it cannot be loaded, or its
            promotion was never recorded.
    """

    state: Literal["none", "same", "compared", "other_classes", "unusable"]
    model_digest: str = Field(description="Empty when there is none.")
    predictions_sha256: str = Field(description="Of its predictions; empty unless compared.")
    reason: str = Field(description="Of other_classes and unusable: what is wrong; else empty.")


class Evidence(Part):
    """What the gate decides on besides the predictions themselves, bound by digests."""

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
    previous_test_uses: int = Field(
        ge=0, description="Other models evaluated on this test set before."
    )
    leaked_test_images: int = Field(
        ge=0, description="Test images whose pixels or group are also in train or val."
    )
    revoked_reason: str = Field(description="Why only a person may promote this model; else empty.")
    champion: ChampionEvidence
