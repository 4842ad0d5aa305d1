"""What can be known before anything is trained is said before: by check, doctor and validate."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from components import register, validate
from components.core.artifacts import ValidationReport
from components.core.errors import PipelineError
from components.core.gate.foresight import HeldOut, expected_test_images, foresee
from components.core.gate.model_size import weights_megabytes
from components.core.phrases import listing
from components.core.training.architectures import ModelParams
from components.io import files, params
from components.io.data import manifest as manifest_file
from components.io.data import scan
from components.registry import champion, decisions
from components.tracking import lineage, server, store
from components.validate.rules import ValidateParams
from pipeline import SETTINGS, sample_data
from pipeline.image_folder import ImageFolder, look
from pipeline.new_project.params_file import value_of

POINTER = Path("data/images.dvc")

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The sections of params.yaml that foresight needs."""

    model: ModelParams
    validate: ValidateParams
    register: register.RegisterParams


def notices(paths: validate.Paths) -> list[str]:
    """Every sentence, for check and validate; empty when nothing stands in the way.

    Args:
        paths: where the images are, and what the last validation wrote.
    """
    if not paths.images.is_dir():
        return []
    settings, folder = params.load(SETTINGS, Settings), look(paths.images)
    test = held_out(paths, folder, settings)
    found = [f"no model can pass: {text}" for text in gate_obstacles(settings, test)]
    found += [text for text in [sample_settings(folder)] if text]
    try:
        found += [text for text in [champion_classes(settings, sorted(test.counts))] if text]
    except PipelineError as error:
        found.append(f"the champion's classes are not known: {error}")
    return found


def gate_obstacles(settings: Settings, test: HeldOut) -> list[str]:
    """Why the gate lets no model pass, one sentence each."""
    size = weights_megabytes(settings.model.architecture, len(test.counts))
    return foresee(settings.register.gate, test, size)


def held_out(paths: validate.Paths, folder: ImageFolder, settings: Settings) -> HeldOut:
    """The test images: those of the last validation if it saw these files, else the expected."""
    share = None if folder.by_split else settings.validate.split["test"]
    try:
        whole = manifest_file.load(paths.manifest, paths.report)
        report = files.read_artifact(paths.report, ValidationReport)
    except PipelineError:
        return HeldOut(expected_counts(folder, settings.validate), None, share)
    seen = set(whole["path"][whole["reason"] != scan.IGNORED])
    if seen != scan.list_files(paths.images):
        return HeldOut(expected_counts(folder, settings.validate), None, share)
    test = manifest_file.rows_of(whole, ["test"])
    counts = {name: int((test["label"] == name).sum()) for name in report.class_names}
    return HeldOut(counts, list(Counter(test["group"]).values()), share)


def expected_counts(folder: ImageFolder, settings: ValidateParams) -> dict[str, int]:
    """Test images of each class, if no file is dropped and no two belong together."""
    if folder.by_split:
        return {name: folder.by_split.get("test", {}).get(name, 0) for name in folder.class_names}
    share = settings.split["test"]
    return {n: expected_test_images(folder.counts[n], share) for n in folder.class_names}


def sample_settings(folder: ImageFolder) -> str:
    """That other data than the sample's are about to be trained with the sample's settings."""
    data_hash = lineage.dvc_hash(POINTER)
    if set(folder.class_names) == sample_data.CLASS_NAMES and data_hash in (
        "",
        sample_data.DVC_HASH,
    ):
        return ""
    raw, names = params.read_yaml(SETTINGS), sample_data.TELLTALE
    kept = [name for name in names if value_of(raw, name) == sample_data.SETTINGS[name]]
    # Any of them may be right by itself, but the name of the sample's model.
    if sample_data.NAME not in kept and len(kept) < len(names) - 1:
        return ""
    return (
        f"{SETTINGS}: {listing(kept, _SHOWN)} are the sample's, but the images are not; "
        "`python -m pipeline init FOLDER --name NAME` writes settings for them"
    )


def champion_classes(settings: Settings, class_names: list[str]) -> str:
    """That the champion knows other classes, so that no new model can be compared with it.

    Raises:
        PipelineError: MLflow cannot be asked, or the champion's decision is not there.
    """
    name, file = settings.register.model_name, server.sqlite_file(server.tracking_uri())
    if file is not None and not (file.exists() and file.stat().st_size):
        return ""  # nothing was registered yet, and MLflow is slow to start
    with store.open_store() as opened, tempfile.TemporaryDirectory() as scratch:
        status, log = champion.read_champion(opened, name)
        if status.version is None or status.problem:
            return ""
        stored = decisions.load_decision(opened, log, status.version, Path(scratch))
    theirs, ours = set(stored.record.evidence.class_names), set(class_names)
    if theirs == ours:
        return ""
    lacks = [f"lacks {listing(sorted(ours - theirs), _SHOWN)}"] if ours - theirs else []
    lacks += [f"also knows {listing(sorted(theirs - ours), _SHOWN)}"] if theirs - ours else []
    return (
        f"the champion, {name} version {status.version}, {' and '.join(lacks)}: a new model will "
        "be blocked until a person approves it; for another task set register.model_name"
    )
