"""All that the decision is about, read once and proved to belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import (
    SPLITS,
    Evaluation,
    Latency,
    ModelCard,
    ValidationReport,
    split_digest,
)
from components.core.errors import ChangedInput, InvalidData
from components.core.evaluation.predictions import Predictions
from components.core.phrases import short_digest
from components.io import files, models
from components.io.data import manifest as manifest_file
from components.io.data import predictions as prediction_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ArtifactPaths:
    """Where the files of earlier steps are."""

    manifest: Path
    report: Path
    model: Path
    evaluation: Path
    predictions: Path
    latency: Path

    @property
    def evaluated(self) -> list[Path]:
        """What evaluate left for the decision."""
        return [self.evaluation, self.predictions, self.latency]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model with its evidence, of one and the same execution.

    Attributes:
        folder: weights and card.
        digest: of `folder`.
        size: of all files in `folder`, bytes.
        manifest: all rows.
        rows: those of used images, by path.
    """

    paths: ArtifactPaths
    folder: Path
    digest: str
    size: int
    card: ModelCard
    report: ValidationReport
    manifest: pd.DataFrame
    rows: pd.DataFrame
    evaluation: Evaluation
    evaluation_sha256: str
    predictions: Predictions
    latency: Latency

    @property
    def leaked_test_images(self) -> int:
        """Test images whose pixels or group are also in train or val."""
        test = self.rows["split"] == "test"
        rest = self.rows[~test]
        leaked = self.rows["pixel_sha256"].isin(rest["pixel_sha256"])
        leaked |= self.rows["group"].isin(rest["group"])
        return int((leaked & test).sum())


def read_candidate(paths: ArtifactPaths) -> Candidate:
    """Read everything; a digest that does not match is refused.

    Raises:
        MissingInput: a file is absent.
        ChangedInput: the files are not of one execution.
        InvalidData: the images failed validation.
    """
    report = files.read_artifact(paths.report, ValidationReport)
    if not report.success:
        raise InvalidData(
            f"{paths.report}: the images break a rule; fix them, then run `dvc repro`."
        )
    whole = manifest_file.load(paths.manifest, paths.report)
    evaluation = files.read_artifact(paths.evaluation, Evaluation)
    candidate = Candidate(
        paths=paths,
        folder=paths.model,
        digest=files.digest_folder(paths.model),
        size=sum(path.stat().st_size for path in files.files_below(paths.model)),
        card=models.load_card(paths.model),
        report=report,
        manifest=whole,
        rows=manifest_file.rows_of(whole, SPLITS),
        evaluation=evaluation,
        evaluation_sha256=files.digest_file(paths.evaluation),
        predictions=prediction_table.read(paths.predictions, evaluation.predictions_sha256),
        latency=files.read_artifact(paths.latency, Latency),
    )
    _require_one_execution(candidate)
    return candidate


def _require_one_execution(candidate: Candidate) -> None:
    paths, card, evaluation = candidate.paths, candidate.card, candidate.evaluation
    test = candidate.rows[candidate.rows["split"] == "test"]
    trained_on = paths.model / models.CARD
    _require_same(paths.model, candidate.digest, paths.evaluation, evaluation.model_digest)
    digest = candidate.report.data_digest
    _require_same(trained_on, card.data_digest, paths.report, digest, "data digest")
    _require_same(paths.evaluation, evaluation.data_digest, paths.report, digest, "data digest")
    tested = split_digest(test)
    _require_same(paths.evaluation, evaluation.test_digest, paths.manifest, tested, "test digest")
    found = candidate.predictions
    names = [c.name for c in evaluation.per_class]
    if not card.class_names == candidate.report.class_names == names == found.class_names:
        raise ChangedInput(
            f"{trained_on}: its classes are not those of {paths.report}, {paths.evaluation} and "
            f"{paths.predictions}, in the same order; run `dvc repro evaluate register`."
        )
    labels = [found.class_names[k] for k in found.labels]
    columns = [test[c].tolist() for c in ("path", "label", "group")]
    if [found.paths, labels, found.groups] != columns:
        raise ChangedInput(
            f"{paths.predictions}: its images, labels or groups are not the test split of "
            f"{paths.manifest}; run `dvc repro evaluate register`."
        )


def _require_same(
    path: Path, found: str, witness: Path, expected: str, what: str = "digest"
) -> None:
    if found != expected:
        raise ChangedInput(
            f"{path}: its {what} is {short_digest(found)}, but {witness} was made with "
            f"{short_digest(expected)}; run `dvc repro evaluate register`."
        )
