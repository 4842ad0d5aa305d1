"""fill.py DISK BEFORE LEFT WATCHED WORDS: a command on a full disk, and again when there is room.

For a child of confined.run, in whose namespace DISK is an empty file system: what lay there lies in
BEFORE, and is put back first. All but LEFT bytes are taken then. Prints what became of it as JSON.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FILLER = ".filler"


def contents(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256, of all files but locks and the one that takes the room."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILLER and path.suffix != ".lock"
    }


def take(disk: Path, left: int) -> None:
    """Leave so many bytes."""
    status = os.statvfs(disk)
    with (disk / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - left)


def main() -> None:
    """Read the words of the command line."""
    disk, before, left, watched, *words = sys.argv[1:]
    shutil.copytree(before, disk, dirs_exist_ok=True)
    take(Path(disk), int(left))
    found: dict[str, object] = {"before": contents(Path(watched))}
    for name in ("full", "again"):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        found[name] = {
            "code": done.returncode,
            "said": done.stdout + done.stderr,
            "files": contents(Path(watched)),
        }
        (Path(disk) / FILLER).unlink(missing_ok=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
