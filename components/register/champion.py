"""The champion, asked the same test images now, by the same code as the new model."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.data import data_diff
from components.core.data.data_diff import DataDiff
from components.core.data.decoding import DataParams
from components.core.errors import PipelineError, ServiceUnavailable
from components.core.gate.evidence import ChampionEvidence
from components.core.training import inference
from components.core.training.inference import Device
from components.io import files, models
from components.io import process as machine
from components.io.data import predictions as answers
from components.io.data.dataset import DataPaths, open_dataset
from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import versions as registry
from components.registry.champion import ChampionStatus

if TYPE_CHECKING:
    import pandas as pd

    from components.core.evaluation.predictions import Predictions
    from components.register.candidate import Candidate
    from components.tracking.store import Store

# Where the evidence lies among the artifacts of a model's run.
FOLDER = "register"
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
        answers: None unless it was compared; classes in the order of the new model.
        diff: how its data differ from the new model's.
    """

    incumbent: ChampionEvidence
    answers: Predictions | None
    diff: DataDiff


@dataclass(frozen=True)
class EvaluationContext:
    """Where and how the champion is asked: as evaluate asks."""

    store: Store
    location: DataPaths
    data: DataParams
    device: Device


def meet(
    arena: EvaluationContext, model_name: str, seat: ChampionStatus, bundle: Candidate
) -> ChampionComparison:
    """Let the champion answer, if there is one and it can.

    A model that is champion already meets the one that it was compared with when it was judged, so
    that judging it again gives the same decision.

    Raises:
        ServiceUnavailable: MLflow does not answer.
        ChangedInput: an image is not the manifest's.
    """
    champion: ChampionStatus | None = seat
    if seat.model_digest == bundle.digest and (seat.version is None or not seat.fault):
        champion = _compared_with(arena.store, model_name, bundle.digest)
    if champion is None:
        return _silent("same", seat, bundle)
    if champion.fault:
        return _silent("unusable", champion, bundle, champion.fault)
    if champion.version is None:
        return _silent("none", champion, bundle)
    diff = data_diff.compare(_its_data(arena.store, champion), bundle.manifest)
    try:
        loaded = models.load(_its_folder(arena, model_name, champion))
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        return ChampionComparison(_incumbent("unusable", champion, str(error)), None, diff)
    theirs, ours = set(loaded.card.class_names), set(bundle.card.class_names)
    if theirs != ours:
        reason = f"it lacks {_named(ours - theirs)} and also knows {_named(theirs - ours)}"
        return ChampionComparison(_incumbent("other_classes", champion, reason), None, diff)
    said, digest = _ask(arena, loaded, champion, bundle)
    return ChampionComparison(_incumbent("compared", champion, predictions=digest), said, diff)


def _compared_with(store: Store, model_name: str, digest: str) -> ChampionStatus | None:
    """Who was champion when this model was judged; None if that one is gone."""
    log = journal.read(store, model_name)
    judged = [r for r in log.records if r.action == "decided" and r.model_digest == digest]
    if not judged or not judged[-1].champion:
        return ChampionStatus()
    version = seats.find_version(store, model_name, judged[-1].champion)
    if version is None or seats.pruned(log, judged[-1].champion):
        return None
    return ChampionStatus(
        version=judged[-1].champion,
        model_digest=judged[-1].champion_digest,
        run_id=str(version.run_id),
    )


def _silent(
    state: str, seat: ChampionStatus, bundle: Candidate, reason: str = ""
) -> ChampionComparison:
    return ChampionComparison(
        _incumbent(state, seat, reason), None, data_diff.compare(None, bundle.manifest)
    )


def _incumbent(
    state: str, seat: ChampionStatus, reason: str = "", predictions: str = ""
) -> ChampionEvidence:
    return ChampionEvidence.model_validate(
        {
            "state": state,
            "model_digest": seat.model_digest or "",
            "predictions_sha256": predictions,
            "reason": reason,
        }
    )


def _named(names: set[str]) -> str:
    some = sorted(names)
    return ", ".join(some[:3]) + (f" and {len(some) - 3:,} more" if some[3:] else "") or "no class"


def _its_folder(arena: EvaluationContext, model_name: str, seat: ChampionStatus) -> Path:
    """The champion's model folder, fetched once and proved by its digest on every use."""
    assert seat.version is not None
    folder = arena.location.cache / "champions" / str(seat.model_digest)
    if not folder.is_dir() or files.digest_folder(folder) != seat.model_digest:
        with tempfile.TemporaryDirectory() as scratch:
            fetched = registry.fetch(arena.store, model_name, seat.version, Path(scratch))
            with files.replacing_folder(folder) as fresh:
                shutil.copytree(fetched, fresh, dirs_exist_ok=True)
    return folder


def _ask(
    arena: EvaluationContext, loaded: models.LoadedModel, seat: ChampionStatus, bundle: Candidate
) -> tuple[Predictions, str]:
    """The champion's answers and the SHA-256 of their table.

    Equal model, images and code give equal answers: they are kept under the digest of all three.
    """
    meaning = [str(seat.model_digest), bundle.report.data_digest, files.digest_sources(_CODE)]
    key = hashlib.sha256("\n".join([*meaning, arena.device]).encode()).hexdigest()[:32]
    kept = arena.location.cache / "rescored"
    for path in kept.glob(f"{key}-*.parquet"):
        if files.digest_file(path) == (digest := path.stem.partition("-")[2]):
            return answers.read(path, digest), digest
    machine.configure()
    machine.make_deterministic()
    reader = DataParams(**loaded.card.images.model_dump(), cache_gib=arena.data.cache_gib)
    test = open_dataset(arena.location, reader, loaded.card.image_size, ("test",))
    logits = answers.logits_of(loaded, test, inference.resolve_device(arena.device))
    said = answers.to_predictions(logits, loaded, test).in_order_of(bundle.card.class_names)
    content = answers.to_parquet(said)
    digest = hashlib.sha256(content).hexdigest()
    files.write_bytes(kept / f"{key}-{digest}.parquet", content)
    return said, digest


def _its_data(store: Store, seat: ChampionStatus) -> pd.DataFrame | None:
    """The manifest of the champion's data, as register left it with the run; None without one."""
    import pandas as pd

    if MANIFEST not in {entry.path for entry in store.client.list_artifacts(seat.run_id, FOLDER)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_parquet(store.client.download_artifacts(seat.run_id, MANIFEST, scratch))
