"""The champion, asked the same test images now, by the same code as the new model."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import data_diff, inference
from components.core.decision import DataDiff, Incumbent
from components.core.errors import PipelineError, ServiceUnavailable
from components.core.images import DataParams
from components.core.inference import Device
from components.io import answers, files, machine, models
from components.io.dataset import Location, open_dataset
from components.io.tracking import journal, registry, seats
from components.io.tracking.seats import Seat

if TYPE_CHECKING:
    import pandas as pd

    from components.core.answers import Answers
    from components.io.tracking.store import Store
    from components.register.bundle import Bundle

# Where the evidence lies among the artifacts of a model's run.
FOLDER = "register"
MANIFEST = f"{FOLDER}/manifest.parquet"


@dataclass(frozen=True, eq=False)
class Rival:
    """The champion as evidence.

    Attributes:
        answers: None unless it was compared; classes in the order of the new model.
        diff: how its data differ from the new model's.
    """

    incumbent: Incumbent
    answers: Answers | None
    diff: DataDiff


@dataclass(frozen=True)
class Arena:
    """Where and how the champion is asked: as evaluate asks."""

    store: Store
    location: Location
    data: DataParams
    device: Device


def meet(arena: Arena, model_name: str, seat: Seat, bundle: Bundle) -> Rival:
    """Let the champion answer, if there is one and it can.

    A model that is champion already meets the one that it was compared with when it was judged, so
    that judging it again gives the same decision.

    Raises:
        ServiceUnavailable: MLflow does not answer.
        ChangedInput: an image is not the manifest's.
    """
    champion: Seat | None = seat
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
        return Rival(_incumbent("unusable", champion, str(error)), None, diff)
    theirs, ours = set(loaded.card.class_names), set(bundle.card.class_names)
    if theirs != ours:
        reason = f"it lacks {_named(ours - theirs)} and also knows {_named(theirs - ours)}"
        return Rival(_incumbent("other_classes", champion, reason), None, diff)
    said, digest = _ask(arena, loaded, champion, bundle)
    return Rival(_incumbent("compared", champion, predictions=digest), said, diff)


def _compared_with(store: Store, model_name: str, digest: str) -> Seat | None:
    """Who was champion when this model was judged; None if that one is gone."""
    log = journal.read(store, model_name)
    judged = [r for r in log.records if r.action == "decided" and r.model_digest == digest]
    if not judged or not judged[-1].champion:
        return Seat()
    version = seats.find_version(store, model_name, judged[-1].champion)
    if version is None or seats.pruned(log, judged[-1].champion):
        return None
    return Seat(
        version=judged[-1].champion,
        model_digest=judged[-1].champion_digest,
        run_id=str(version.run_id),
    )


def _silent(state: str, seat: Seat, bundle: Bundle, reason: str = "") -> Rival:
    return Rival(_incumbent(state, seat, reason), None, data_diff.compare(None, bundle.manifest))


def _incumbent(state: str, seat: Seat, reason: str = "", predictions: str = "") -> Incumbent:
    return Incumbent.model_validate(
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


def _its_folder(arena: Arena, model_name: str, seat: Seat) -> Path:
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
    arena: Arena, loaded: models.LoadedModel, seat: Seat, bundle: Bundle
) -> tuple[Answers, str]:
    """The champion's answers and the SHA-256 of their table.

    Equal model, images and code give equal answers: they are kept under the digest of all three.
    """
    meaning = [str(seat.model_digest), bundle.report.data_digest, files.digest_sources()]
    key = hashlib.sha256("\n".join([*meaning, arena.device]).encode()).hexdigest()[:32]
    kept = arena.location.cache / "rescored"
    for path in kept.glob(f"{key}-*.parquet"):
        if files.digest_file(path) == (digest := path.stem.partition("-")[2]):
            return answers.read(path, digest), digest
    machine.prepare()
    machine.make_deterministic()
    reader = DataParams(**loaded.card.images.model_dump(), cache_gib=arena.data.cache_gib)
    test = open_dataset(arena.location, reader, loaded.card.image_size, ("test",))
    logits = answers.logits_of(loaded, test, inference.resolve_device(arena.device))
    said = answers.to_answers(logits, loaded, test).in_order_of(bundle.card.class_names)
    content = answers.to_parquet(said)
    digest = hashlib.sha256(content).hexdigest()
    files.write_bytes(kept / f"{key}-{digest}.parquet", content)
    return said, digest


def _its_data(store: Store, seat: Seat) -> pd.DataFrame | None:
    """The manifest of the champion's data, as register left it with the run; None without one."""
    import pandas as pd

    if MANIFEST not in {entry.path for entry in store.client.list_artifacts(seat.run_id, FOLDER)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return pd.read_parquet(store.client.download_artifacts(seat.run_id, MANIFEST, scratch))
