"""The champion, evaluated now on the same test images, by the same code as the new model."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.data import data_diff
from components.core.data.data_diff import DataChange, DataDiff
from components.core.data.decoding import DataParams
from components.core.errors import PipelineError, ServiceUnavailable
from components.core.gate.evidence import ChampionEvidence
from components.core.phrases import listing
from components.core.training import inference
from components.core.training.inference import Device
from components.io import files, models, process
from components.io.data import predictions as prediction_table
from components.io.data.dataset import DataPaths, open_dataset
from components.registry import audit_log, champion, versions
from components.registry.champion import ChampionStatus
from components.registry.decisions import FOLDER

if TYPE_CHECKING:
    import pandas as pd

    from components.core.evaluation.predictions import Predictions
    from components.register.candidate import Candidate
    from components.tracking.store import Store

# The manifest of a model's data, among the artifacts of its run.
MANIFEST = f"{FOLDER}/manifest.parquet"

# What predictions of one model on the same images depend on.
_CODE = (
    "core/artifacts.py",
    "core/data",
    "core/evaluation",
    "core/training",
    "io/data",
    "io/models.py",
    "io/process.py",
    "register/champion.py",
)


@dataclass(frozen=True, eq=False)
class ChampionComparison:
    """The champion as evidence.

    Attributes:
        evidence: its state and digests.
        predictions: None unless it was compared; classes in the order of the new model.
        data_diff: how the new model's data differ from its data.
        data_changes: the same image by image.
    """

    evidence: ChampionEvidence
    predictions: Predictions | None
    data_diff: DataDiff
    data_changes: Sequence[DataChange] = ()


@dataclass(frozen=True)
class EvaluationContext:
    """Where and how the champion is evaluated: as evaluate does it."""

    store: Store
    data_paths: DataPaths
    data: DataParams
    device: Device


def evaluate_champion(
    context: EvaluationContext, model_name: str, status: ChampionStatus, candidate: Candidate
) -> ChampionComparison:
    """Evaluate the champion, if there is one and it can be loaded.

    A model that is champion already is compared with the champion of its first evaluation, so
    evaluating it again gives the same decision.

    Test images that were in its train or val split, or whose near duplicates were, are left out: it
    knows them by heart. docs/decisions/0065-test-images-that-the-champion-has-seen.md has figures.

    Raises:
        ServiceUnavailable: MLflow does not answer.
        ChangedInput: an image is not the manifest's.
    """
    opponent: ChampionStatus | None = status
    if status.model_digest == candidate.digest and (status.version is None or not status.problem):
        opponent = _compared_before(context.store, model_name, candidate.digest)
    if opponent is None:
        return _not_compared("same", status, candidate)
    if opponent.problem:
        return _not_compared("unusable", opponent, candidate, opponent.problem)
    if opponent.version is None:
        return _not_compared("none", opponent, candidate)
    before = _read_manifest(context.store, opponent)
    diff = data_diff.compare(before, candidate.manifest)
    changes = data_diff.list_changes(before, candidate.manifest)
    try:
        loaded = models.load(_model_folder(context, model_name, opponent))
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        return ChampionComparison(_evidence("unusable", opponent, str(error)), None, diff, changes)
    theirs, ours = set(loaded.card.class_names), set(candidate.card.class_names)
    if theirs != ours:
        reason = f"it lacks {_some(ours - theirs)} and also knows {_some(theirs - ours)}"
        return ChampionComparison(_evidence("other_classes", opponent, reason), None, diff, changes)
    seen = data_diff.seen_before(before, candidate.manifest)
    evidence, predictions = _compare(context, loaded, opponent, candidate, seen)
    return ChampionComparison(evidence, predictions, diff, changes)


def _compare(
    context: EvaluationContext,
    loaded: models.LoadedModel,
    opponent: ChampionStatus,
    candidate: Candidate,
    seen: Set[str],
) -> tuple[ChampionEvidence, Predictions | None]:
    """The champion's predictions for the test images that it has not seen."""
    unseen = [path for path in candidate.predictions.paths if path not in seen]
    if not unseen:
        return _evidence("all_seen", opponent, seen_test_images=len(seen)), None
    predictions, digest = _predict(context, loaded, opponent, candidate)
    if seen:
        predictions = predictions.among(unseen)
        digest = hashlib.sha256(prediction_table.to_parquet(predictions)).hexdigest()
    evidence = _evidence(
        "compared", opponent, predictions_sha256=digest, seen_test_images=len(seen)
    )
    return evidence, predictions


def _compared_before(store: Store, model_name: str, digest: str) -> ChampionStatus | None:
    """The champion when this model was last evaluated; None if that one is gone."""
    log = audit_log.read(store, model_name)
    found = [e for e in log.events if e.action == "evaluated" and e.model_digest == digest]
    if not found or not found[-1].champion:
        return ChampionStatus()
    number = found[-1].champion
    version = champion.find_version(store, model_name, number)
    if version is None or champion.pruned_reason(log, number):
        return None
    return ChampionStatus(
        version=number, model_digest=found[-1].champion_digest, run_id=str(version.run_id)
    )


def _not_compared(
    state: str, status: ChampionStatus, candidate: Candidate, reason: str = ""
) -> ChampionComparison:
    diff = data_diff.compare(None, candidate.manifest)
    return ChampionComparison(_evidence(state, status, reason), None, diff)


def _evidence(
    state: str,
    status: ChampionStatus,
    reason: str = "",
    predictions_sha256: str = "",
    seen_test_images: int = 0,
) -> ChampionEvidence:
    return ChampionEvidence.model_validate(
        {
            "state": state,
            "model_digest": status.model_digest or "",
            "predictions_sha256": predictions_sha256,
            "seen_test_images": seen_test_images,
            "reason": reason,
        }
    )


def _some(names: set[str]) -> str:
    return listing(sorted(names), 3) or "no class"


def _model_folder(context: EvaluationContext, model_name: str, status: ChampionStatus) -> Path:
    """The champion's model folder, downloaded once and checked by its digest on every use."""
    assert status.version is not None
    folder = context.data_paths.cache / "champions" / str(status.model_digest)
    if not folder.is_dir() or files.digest_folder(folder) != status.model_digest:
        with tempfile.TemporaryDirectory() as scratch:
            downloaded = versions.download_model(
                context.store, model_name, status.version, Path(scratch)
            )
            with files.replacing_folder(folder) as fresh:
                shutil.copytree(downloaded, fresh, dirs_exist_ok=True)
    return folder


def _predict(
    context: EvaluationContext,
    loaded: models.LoadedModel,
    status: ChampionStatus,
    candidate: Candidate,
) -> tuple[Predictions, str]:
    """The champion's predictions and the SHA-256 of their table.

    Equal model, images and code give equal predictions: they are cached by the digest of all three.
    """
    parts = [str(status.model_digest), candidate.report.data_digest, files.digest_sources(_CODE)]
    key = hashlib.sha256("\n".join([*parts, context.device]).encode()).hexdigest()[:32]
    cache = context.data_paths.cache / "champion_predictions"
    for path in cache.glob(f"{key}-*.parquet"):
        if files.digest_file(path) == (digest := path.stem.partition("-")[2]):
            return prediction_table.read(path, digest), digest
    process.configure()
    process.choose_kernels(deterministic=True)
    data = DataParams(**loaded.card.images.model_dump(), cache_gib=context.data.cache_gib)
    test = open_dataset(context.data_paths, data, loaded.card.image_size, ("test",))
    logits = prediction_table.logits_of(loaded, test, inference.resolve_device(context.device))
    predictions = prediction_table.to_predictions(logits, loaded, test)
    predictions = predictions.in_order_of(candidate.card.class_names)
    content = prediction_table.to_parquet(predictions)
    digest = hashlib.sha256(content).hexdigest()
    files.write_bytes(cache / f"{key}-{digest}.parquet", content)
    return predictions, digest


def _read_manifest(store: Store, status: ChampionStatus) -> pd.DataFrame | None:
    """The manifest of the champion's data, as register left it with the run; None without one."""
    import pandas as pd

    artifacts = store.client.list_artifacts(status.run_id, FOLDER)
    if MANIFEST not in {entry.path for entry in artifacts}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_parquet(store.client.download_artifacts(status.run_id, MANIFEST, scratch))
