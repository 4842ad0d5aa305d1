"""The typed hand-offs: every file between two steps has one class here, shared by both.

file                              class              written by   read by
artifacts/validate/manifest       MANIFEST_COLUMNS   validate     tune train evaluate
artifacts/validate/report.json    ValidationReport   validate     tune train evaluate register
artifacts/tune/hyperparameters    Hyperparameters    tune         train
artifacts/train/model/card.json   ModelCard          train        evaluate register serving
artifacts/evaluate/evaluation     Evaluation         evaluate     register
artifacts/evaluate/predictions    PREDICTION_COLUMNS evaluate     register
artifacts/evaluate/latency.json   Latency            evaluate     register
artifacts/register/champion       PREDICTION_COLUMNS register     people

What register decides has its own module, `gate.record`. Of schema version 1 only decisions and
model cards are read; the other files are made again by the step that writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.core.data.decoding import ImageParams

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Literal[2] = 2

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Share = Annotated[float, Field(ge=0, le=1)]

# One row per file found below the image folder, sorted by path.
MANIFEST_COLUMNS: dict[str, str] = {
    "path": "relative to the image folder, with forward slashes",
    "label": "class name; empty when the file belongs to no class",
    "split": "train | val | test; empty unless used",
    "group": "the smallest pixel_sha256 of the group; files of one group stay in one split",
    "sha256": "of the file's bytes, hex",
    "pixel_sha256": "of the decoded RGB pixels and their size, hex; empty when undecodable",
    "phash": "64-bit perceptual hash, 16 hex digits; empty when undecodable",
    "width": "pixels, after orientation; 0 when undecodable",
    "height": "pixels, after orientation; 0 when undecodable",
    "mode": "Pillow mode as stored, e.g. L, RGB, RGBA, P, I;16",
    "format": "Pillow format found in the content, e.g. PNG",
    "bytes": "file size",
    "status": "used | quarantined | ignored",
    "reason": "why not used; empty when used",
}

DIGEST_COLUMNS = ["path", "label", "split", "group", "sha256", "pixel_sha256"]


def data_digest(manifest: pd.DataFrame) -> str:
    """The data digest: SHA-256 over what is used, free of the manifest's file encoding.

    Covers path, label, split, group and both content hashes of the used rows, by path. Whatever
    else lies between the images changes nothing. Version 1 covered all rows; digests of it in the
    registry are names like any other, and are never computed again.
    """
    used = manifest[manifest["status"] == "used"].sort_values("path")
    sha = hashlib.sha256(b"manifest v2\n")
    for row in used[DIGEST_COLUMNS].itertuples(index=False):
        sha.update("\0".join(map(str, row)).encode("utf-8", "surrogateescape") + b"\n")
    return sha.hexdigest()


# One row per test image, sorted by path; then one column `p:<class>` for each class.
PREDICTION_COLUMNS: dict[str, str] = {
    "path": "relative to the image folder",
    "group": "as in the manifest",
    "label": "true class",
    "predicted": "predicted class",
}


def split_digest(rows: pd.DataFrame) -> str:
    """SHA-256 over pixels and labels of a split: of `test` it names the test set, the test digest.

    Args:
        rows: manifest rows of the split.
    """
    pairs = sorted(zip(rows["pixel_sha256"], rows["label"], strict=True))
    sha = hashlib.sha256(b"split v1\n")
    for pixels, label in pairs:
        sha.update(f"{pixels}\0{label}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


class Artifact(BaseModel):
    """A JSON file between steps: frozen, no unknown keys, of a stated schema version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, raw: Any) -> Any:
        """Refuse schema version 1; a class that still reads it overrides this."""
        if isinstance(raw, Mapping) and raw.get("schema_version") == 1:
            raise ValueError("schema version 1, but 2 is expected; run `dvc repro validate`")
        return raw


class Part(BaseModel):
    """A piece of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleResult(Part):
    """One rule of the validation suite, as it came out. A critical one stops the pipeline."""

    rule: str
    severity: Literal["critical", "warning"] = Field(description="Only critical rules block.")
    success: bool
    observed: str
    expected: str
    files: list[str] = Field(description="Unexpected paths, at most 20; all in quarantine.csv.")


class ValidationReport(Artifact):
    """What validate found, and whether later steps may use it."""

    success: bool
    data_digest: str
    class_names: list[str] = Field(description="Sorted; the class order of every model.")
    found: int
    used: int
    quarantined: int
    ignored: int
    duplicates: int = Field(description="Files dropped because another file has the same bytes.")
    counts: dict[str, dict[Split, int]] = Field(description="Class -> split -> used images.")
    near_duplicates: int = Field(description="Used images with a near duplicate.")
    groups: int = Field(description="Of used images; single ones count.")
    largest_group: int = Field(description="Used images in it.")
    pinned: int = Field(description="Used images whose split is pinned.")
    rules: list[RuleResult]


class Hyperparameters(Artifact):
    """The best trial of the study, and the data it was found on."""

    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    horizontal_flip: bool
    val_loss: float = Field(description="Of the best trial, at its best epoch.")
    val_accuracy: Share = Field(description="At the same epoch.")
    preset_val_loss: float | None = Field(
        None, description="Of the trial with the preset's settings; null if it is not complete."
    )
    image_size: int = Field(description="Of the trials, pixels.")
    num_train_images: int = Field(description="That the trials learned from.")
    study: str = Field(description="Study name; carries the digest of data, space and code.")
    trials_complete: int = Field(ge=1)
    trials_pruned: int
    trials_failed: int
    data_digest: str


class ModelCard(Artifact):
    """What is needed to use the weights beside it, and where they come from."""

    architecture: str
    class_names: list[str] = Field(description="Logit k belongs to class_names[k].")
    image_size: int = Field(description="Side of the square network input, pixels.")
    images: ImageParams = Field(description="How bytes become pixels; part of the model.")
    temperature: float = Field(gt=0, description="Divides the logits; 1 unless val gains.")
    weights_sha256: str
    initial_weights: str = Field(description="random, or the SHA-256 of the starting weights.")
    data_digest: str
    training_key: str = Field(description="Digest of data and effective settings of the run.")
    settings: dict[str, str | int | float | bool] = Field(description="Effective settings.")
    best_epoch: int = Field(ge=1)
    val_loss: float

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, raw: Any) -> Any:
        """Read older cards too: models in the registry outlive them.

        Schema version 1 called `resize_mode` fit. Before there was a `white_level`, all 16 bits
        were taken for used.
        """
        if not isinstance(raw, Mapping) or not isinstance(images := raw.get("images"), Mapping):
            return raw
        images = {"white_level": None, **images}
        if raw.get("schema_version") == 1 and "fit" in images:
            images["resize_mode"] = images.pop("fit")
        version = 2 if raw.get("schema_version") == 1 else raw.get("schema_version", 2)
        return {**raw, "schema_version": version, "images": images}


class ClassMetrics(Part):
    """One class on the test split."""

    name: str
    precision: Share
    recall: Share
    f1: Share
    support: int


class Metrics(Part):
    """Numbers of the test split. Probabilities are after temperature scaling."""

    num_images: int
    accuracy: Share
    accuracy_low: Share = Field(description="Lower end of the 95 % Wilson interval.")
    accuracy_high: Share
    balanced_accuracy: Share
    macro_f1: Share
    log_loss: float
    ece: Share = Field(description="Expected calibration error.")
    ece_uncalibrated: Share
    roc_auc: Share | None = Field(
        description="Binary: of class 1. Otherwise macro one-versus-rest. None: one class only."
    )
    majority_class_accuracy: Share = Field(
        description="Accuracy of always predicting the largest class."
    )


class Evaluation(Artifact):
    """What evaluate measured, bound to the model, the data and the predictions."""

    metrics: Metrics
    per_class: list[ClassMetrics]
    confusion: list[list[int]] = Field(description="Row = true class, column = predicted.")
    model_digest: str = Field(description="Of the model folder.")
    data_digest: str
    test_digest: str
    predictions_sha256: str


class Latency(Artifact):
    """How long one image takes, from file bytes to probabilities, one at a time."""

    p50_ms: float = Field(gt=0)
    p95_ms: float = Field(gt=0)
    images: int = Field(ge=1, description="Timed after a warm-up.")
    machine: str = Field(description="Processor and number of threads, or GPU.")
