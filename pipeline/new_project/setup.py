"""Images, tables and settings put in place, in an order that a kill cannot harm.

Running the same command again is right at any point: images are copied aside and appear whole, and
what is already as it should be is left alone. What is not the sample's goes to backup/, never away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import MissingInput, PipelineError
from components.core.phrases import count, listing
from components.io import files, params
from components.io.data import scan
from components.tracking import lineage
from pipeline import IMAGES, SETTINGS, sample_data
from pipeline.dvc_command import run_dvc
from pipeline.image_folder import ImageFolder
from pipeline.new_project.facts import SECTION, Choice
from pipeline.new_project.params_file import value_of

BACKUP = Path("backup")

_POINTER, _LOCK = Path("data/images.dvc"), Path("dvc.lock")
# Tables that speak of certain images, with their header lines.
_TABLES = {
    Path("data/groups.csv"): "path,group\n",
    Path("data/splits.csv"): "pixel_sha256,split,path\n",
}
_PART, _OLD = IMAGES.with_name(".images.part"), IMAGES.with_name(".images.old")
_SHOWN = 3


@dataclass(frozen=True)
class Setup:
    """What there is to do.

    Attributes:
        source: the images.
        text: of params.yaml.
        ready: whether data/images holds these images already.
        in_the_way: what is the user's and would be replaced, path -> what it is.
    """

    source: ImageFolder
    text: str
    ready: bool
    in_the_way: dict[Path, str]


def plan(source: ImageFolder, text: str, choices: Sequence[Choice]) -> Setup:
    """Compare what is there with what should be; changes nothing.

    Args:
        source: the images.
        text: of params.yaml.
        choices: that the text was made with.
    """
    ready = IMAGES.is_dir() and _is_copied(source)
    in_the_way = dict(_changed_settings(choices))
    if not ready:
        in_the_way |= dict(_foreign_data())
    return Setup(source, text, ready, in_the_way)


def require_free(setup: Setup) -> None:
    """Raise `PipelineError` that names everything of the user's that would be replaced."""
    if setup.in_the_way:
        found = "; ".join(f"{path}: {what}" for path, what in setup.in_the_way.items())
        raise PipelineError(
            f"{found}. These are not the sample's: with --yes they are replaced and kept in "
            f"{BACKUP}/. To add images to the ones in {IMAGES}, copy them there and run "
            f"`dvc add {IMAGES}` instead."
        )


def replaced_lines(setup: Setup) -> Iterator[str]:
    """What needs --yes, a line each."""
    for path, what in setup.in_the_way.items():
        yield f"needs --yes: {path}: {what}"


def require_room(setup: Setup, *, link: bool) -> None:
    """Raise unless the images fit on the disk, and DVC can take them.

    Raises:
        MissingInput: the project has no .dvc folder.
        PipelineError: the disk is too small.
    """
    if not Path(".dvc").is_dir():
        raise MissingInput(".dvc: does not exist; run `dvc init` (without git: --no-scm) first.")
    size = sum((setup.source.root / path).stat().st_size for path in setup.source.files)
    needed = size * (1 if link or setup.ready else 2)  # DVC keeps a copy in its cache
    free = shutil.disk_usage(Path.cwd()).free
    if needed > free:
        raise PipelineError(
            f"{Path.cwd()}: {free / 1e9:.1f} GB are free, but the images and DVC's copy of them "
            f"take {needed / 1e9:.1f} GB; free some" + ("." if link else ", or use --link.")
        )


def carry_out(setup: Setup, *, link: bool) -> Path | None:
    """Put everything in place but DVC's record of the images.

    Args:
        setup: of `plan`.
        link: make hard links to the images instead of copies.

    Returns:
        The folder with what was replaced and is not the sample's; None when there is nothing.

    Raises:
        PipelineError: the images cannot be copied or linked.
    """
    if not setup.ready:
        _copy(setup.source, link=link)
    backup = _back_up(setup) if setup.in_the_way else None
    if _LOCK.is_file() and sample_data.DVC_HASH in _LOCK.read_text(encoding="utf-8"):
        _LOCK.unlink()
    if not setup.ready:
        for table, header in _TABLES.items():
            files.write_text(table, header)
    if setup.text != SETTINGS.read_text(encoding="utf-8"):
        files.write_text(SETTINGS, setup.text)
    if not setup.ready:
        _swap(backup)
    return backup


def _changed_settings(choices: Sequence[Choice]) -> Iterator[tuple[Path, str]]:
    """Settings that are neither the sample's nor what they should be."""
    raw = params.read_yaml(SETTINGS)
    changed = [
        f"{choice.key} is {found!r}"
        for choice in choices
        if choice.value is not SECTION
        and (found := value_of(raw, choice.key)) != choice.value
        and found != sample_data.SETTINGS[choice.key]
    ]
    if changed:
        yield SETTINGS, listing(changed, _SHOWN)


def _foreign_data() -> Iterator[tuple[Path, str]]:
    """Images and tables that are not the sample's."""
    if not _is_sample() and (number := len(scan.list_files(IMAGES)) if IMAGES.is_dir() else 1):
        yield IMAGES, f"holds {count(number, 'file')}"
    if lineage.dvc_hash(_POINTER) not in ("", sample_data.DVC_HASH):
        yield _POINTER, "records other images"
    for table in _TABLES:
        lines = table.read_bytes().strip().splitlines() if table.is_file() else []
        if len(lines) > 1:
            yield table, f"has {count(len(lines) - 1, 'line')}"


def _is_sample() -> bool:
    """Whether data/images may go: it is the sample, or not there."""
    return not os.path.lexists(IMAGES) or (IMAGES.is_dir() and sample_data.is_sample(IMAGES))


def _is_copied(source: ImageFolder) -> bool:
    """Whether the project's images are the source's, by name, size and time."""
    if source.root == IMAGES.resolve():
        return True
    paths = set(source.files)
    if paths != scan.list_files(IMAGES):
        return False
    return all(_is_same(IMAGES / path, source.root / path) for path in paths)


def _is_same(one: Path, other: Path) -> bool:
    ours, theirs = one.stat(), other.stat()
    # Not every file system keeps fractions of a second.
    return (ours.st_size, int(ours.st_mtime)) == (theirs.st_size, int(theirs.st_mtime))


def _copy(source: ImageFolder, *, link: bool) -> None:
    """Copy the images beside data/images."""
    from tqdm import tqdm

    shutil.rmtree(_PART, ignore_errors=True)
    # disable=None: a bar on terminals only
    bar = tqdm(source.files, desc="init", unit="img", leave=False, disable=None)
    try:
        for path in bar:
            original, copy = source.root / path, _PART / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            if link and not original.is_symlink():
                copy.hardlink_to(original)
            else:
                shutil.copyfile(original, copy)
                times = original.stat()
                os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    except OSError as error:
        shutil.rmtree(_PART, ignore_errors=True)
        verb, remedy = ("copied", "free some space or fix the permissions")
        if link:
            verb, remedy = "linked", "leave --link out, which copies"
        raise PipelineError(
            f"{original}: cannot be {verb} to {IMAGES} ({error.strerror}); {remedy}."
        ) from error


def _back_up(setup: Setup) -> Path:
    """Copy settings and tables to a folder of their own; the images follow when they are moved."""
    taken = [int(folder.name) for folder in BACKUP.glob("*") if folder.name.isdecimal()]
    backup = BACKUP / str(max(taken, default=0) + 1)
    backup.mkdir(parents=True)
    for path in setup.in_the_way:
        if path != IMAGES:
            (backup / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, backup / path)
    return backup


def _swap(backup: Path | None) -> None:
    """The new images take the place of the old ones, which are the sample's or go to the backup."""
    _remove(_OLD)
    old = _OLD
    if os.path.lexists(IMAGES):
        if backup and not _is_sample():
            old = backup / IMAGES
            old.parent.mkdir(parents=True, exist_ok=True)
        IMAGES.rename(old)
    _PART.rename(IMAGES)
    _remove(_OLD)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def record() -> None:
    """Let DVC record the images. Raises `PipelineError` with its words if it refuses."""
    run_dvc("add", str(IMAGES))  # --quiet hides errors, too
