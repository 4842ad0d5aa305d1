"""Files that are whole or absent: every output is written aside, synced, then renamed."""

import csv
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from components.core.errors import ChangedInput, MissingInput, PipelineError, causes

T = TypeVar("T", bound=BaseModel)

_BLOCK = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Of libraries that keep no more of an error than its words, and of SQLite.
_FULL_WORDS = (*map(os.strerror, _FULL), "database or disk is full")

# Left in any folder by the programs that look at it.
_JUNK = re.compile(r"\.ds_store|\._.*|thumbs\.db|desktop\.ini|.*:zone\.identifier", re.IGNORECASE)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it over `path`.

    On any error the temporary file is removed and the old file, if there was one, is untouched.
    A full disk becomes a `PipelineError` that names the file.
    """
    # The suffix stays last: libraries choose their format by it.
    temporary = path.with_name(f".{path.stem}.{_machine()}-{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        yield temporary
        _sync(temporary)
        sys.audit("pipeline", "file written")
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, whole.

    What was in the old folder and is not written again is gone. On any error the old folder is
    untouched.
    """
    temporary = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.part")
    old = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.old")
    try:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _sync(temporary)
        if path.exists():
            path.rename(old)
            sys.audit("pipeline", "old folder moved")
        temporary.rename(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)


def _remove_leftovers(path: Path) -> None:
    """Delete what a killed process left beside `path`; another live process keeps its file."""
    mine = rf"\.{re.escape(path.stem)}\.{_machine()}-(\d+)\.part{re.escape(path.suffix)}"
    ours = re.compile(mine)
    for leftover in path.parent.iterdir():
        owner = ours.fullmatch(leftover.name)
        if owner and not _alive(int(owner[1])):
            leftover.unlink(missing_ok=True)


def _machine() -> str:
    """Of this process: pods that share a volume have equal process numbers, but other hosts."""
    return re.sub(r"\W", "_", platform.node())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def unwritable(path: Path, error: OSError) -> PipelineError:
    """What to say of a file that could not be written, whole or at all."""
    why = error.strerror or str(error)
    if is_full(error):
        why += f", file system {file_system(path)}"
    return PipelineError(
        f"{path}: could not be written ({why}); nothing is left under that name. Free some space "
        "or fix the permissions, then run the same command again."
    )


def is_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, means a full disk or a used up quota."""
    return any(
        getattr(cause, "errno", None) in _FULL or any(words in str(cause) for words in _FULL_WORDS)
        for cause in causes(error)
    )


def file_system(path: Path) -> Path:
    """Where the file system of a path is mounted; the path itself need not exist."""
    place = path.absolute()
    while not os.path.ismount(place):
        place = place.parent
    return place


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    write_bytes(path, content.encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as UTF-8 CSV with a header line, whole or not at all."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary_path)` fill `path`, whole or not at all: for savers of libraries."""
    with replacing(path) as temporary:
        write(temporary)


def to_json(artifact: BaseModel) -> str:
    """A typed hand-off as JSON: sorted keys, so equal values give equal bytes."""
    return json.dumps(artifact.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def write_artifact(path: Path, artifact: BaseModel) -> None:
    """Write a typed hand-off as JSON."""
    write_text(path, to_json(artifact))


def read_artifact(path: Path, kind: type[T]) -> T:
    """Read a typed hand-off. A missing or foreign file is an error that names the step to run."""
    require_file(path)
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ChangedInput(
            f"{path}: is not a {kind.__name__} of this version ({place}: {first['msg']}); "
            "run the step that writes it again."
        ) from error


def require_file(path: Path) -> None:
    """Raise `MissingInput` unless `path` is a file."""
    if not path.is_file():
        raise MissingInput(
            f"{path}: does not exist. An earlier step or `dvc pull` makes it; run `dvc repro`."
        )


def digest_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the sorted relative names and digests of all files below `folder`, in hex.

    What file managers leave there, like .DS_Store, does not count.
    """
    return _digest_listing(folder, files_below(folder))


def files_below(folder: Path) -> list[Path]:
    """All files below `folder`, sorted, without what file managers leave there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not _JUNK.fullmatch(path.name)]


def digest_sources(code: Sequence[str]) -> str:
    """SHA-256 over Python files of this package, in hex: names the code that made a number.

    Args:
        code: modules and folders below `components`, as in `deps` of dvc.yaml.
    """
    package = Path(__file__).parent.parent
    paths = [path for name in code for path in _sources(package / name)]
    return _digest_listing(package, sorted(paths))


def _sources(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return [path for path in files_below(place) if path.suffix == ".py"]


def _digest_listing(folder: Path, paths: list[Path]) -> str:
    listing = "".join(f"{digest_file(p)}  {p.relative_to(folder).as_posix()}\n" for p in paths)
    return hashlib.sha256(listing.encode()).hexdigest()
