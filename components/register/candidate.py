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
from components.io import files, models
from components.io.data import manifest as manifest_file
from components.io.data import predictions as answers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ArtifactPaths:
    """Where the evidence lies."""

    manifest: Path
    report: Path
    model: Path
    evaluation: Path
    predictions: Path
    latency: Path

    @property
    def evidence(self) -> list[Path]:
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

    places: ArtifactPaths
    folder: Path
    digest: str
    size: int
    card: ModelCard
    report: ValidationReport
    manifest: pd.DataFrame
    rows: pd.DataFrame
    evaluation: Evaluation
    evaluation_sha256: str
    answers: Predictions
    latency: Latency

    @property
    def shared(self) -> int:
        """Test images whose pixels or group are also in train or val."""
        test = self.rows["split"] == "test"
        rest = self.rows[~test]
        leaks = self.rows["pixel_sha256"].isin(rest["pixel_sha256"])
        leaks |= self.rows["group"].isin(rest["group"])
        return int((leaks & test).sum())


def read(places: ArtifactPaths) -> Candidate:
    """Read everything; a digest that does not fit is refused.

    Raises:
        MissingInput: a file is absent.
        ChangedInput: the files are not of one execution.
        InvalidData: the images did not pass.
    """
    report = files.read_artifact(places.report, ValidationReport)
    if not report.success:
        raise InvalidData(
            f"{places.report}: the images break a rule; mend them, then run `dvc repro`."
        )
    whole = manifest_file.load(places.manifest, places.report)
    evaluation = files.read_artifact(places.evaluation, Evaluation)
    bundle = Candidate(
        places=places,
        folder=places.model,
        digest=files.digest_folder(places.model),
        size=sum(path.stat().st_size for path in places.model.rglob("*") if path.is_file()),
        card=models.load_card(places.model),
        report=report,
        manifest=whole,
        rows=manifest_file.rows_of(whole, SPLITS),
        evaluation=evaluation,
        evaluation_sha256=files.digest_file(places.evaluation),
        answers=answers.read(places.predictions, evaluation.predictions_sha256),
        latency=files.read_artifact(places.latency, Latency),
    )
    _require_one_execution(bundle, places)
    return bundle


def _require_one_execution(bundle: Candidate, places: ArtifactPaths) -> None:
    card, evidence = bundle.card, bundle.evaluation
    test = bundle.rows[bundle.rows["split"] == "test"]
    trained_on = places.model / models.CARD
    _require_same(places.model, bundle.digest, places.evaluation, evidence.model_digest)
    digest = bundle.report.data_digest
    _require_same(trained_on, card.data_digest, places.report, digest, "data digest")
    _require_same(places.evaluation, evidence.data_digest, places.report, digest, "data digest")
    asked = split_digest(test)
    _require_same(places.evaluation, evidence.test_digest, places.manifest, asked, "test digest")
    names = [c.name for c in evidence.per_class]
    if not card.class_names == bundle.report.class_names == names == bundle.answers.class_names:
        raise ChangedInput(
            f"{trained_on}: its classes are not those of {places.report}, {places.evaluation} and "
            f"{places.predictions}, in the same order; run `dvc repro evaluate register`."
        )
    said = bundle.answers
    labels = [said.class_names[k] for k in said.labels]
    if [said.paths, labels, said.groups] != [test[c].tolist() for c in ("path", "label", "group")]:
        raise ChangedInput(
            f"{places.predictions}: its images, labels or groups are not the test split of "
            f"{places.manifest}; run `dvc repro evaluate register`."
        )


def _require_same(path: Path, found: str, witness: Path, wanted: str, what: str = "digest") -> None:
    if found != wanted:
        raise ChangedInput(
            f"{path}: its {what} is {found[:12]}, but {witness} was made with {wanted[:12]}; run "
            "`dvc repro evaluate register`."
        )
