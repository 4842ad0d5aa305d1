"""The state of a training on disk: written whole, checked when read, refused under another key."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.io import files

if TYPE_CHECKING:
    from components.core.training.loop import State

_log = logging.getLogger(__name__)

_DIGEST_BYTES = 32


def save(path: Path, key: str, state: State, history: list[dict[str, float]]) -> None:
    """Write the state with its key and the epochs so far; the SHA-256 of the rest comes first.

    The checkpoint before is kept beside it.

    Args:
        path: file to write, whole or not at all.
        key: identifies data, settings and code; the caller's.
        state: of `core.training.loop`.
        history: rows of the finished epochs.
    """
    import torch

    buffer = io.BytesIO()
    torch.save({"key": key, "state": state, "history": history}, buffer)
    content = buffer.getvalue()
    if path.exists():
        path.replace(_previous(path))
        sys.audit("pipeline", "old checkpoint moved")
    files.write_bytes(path, hashlib.sha256(content).digest() + content)


def load(path: Path, key: str) -> tuple[State, list[dict[str, float]]] | None:
    """The state and the epochs saved under `key`; None when there is nothing to resume.

    If the newest checkpoint is damaged, the one before it is used.
    """
    previous = _previous(path)
    fallback = str(previous) if previous.exists() else "the first epoch"
    saved = _read(path, fallback) or _read(previous, "the first epoch")
    if saved is None:
        return None
    if saved["key"] != key:
        _log.info(
            "train     %s belongs to other data, settings or code: starting from the first epoch",
            path,
        )
        return None
    return saved["state"], saved["history"]


def remove(path: Path) -> None:
    """Delete the checkpoint and the one before it."""
    path.unlink(missing_ok=True)
    _previous(path).unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _read(path: Path, fallback: str) -> dict[str, Any] | None:
    """What was saved: tensors and plain values only, `weights_only` refuses pickled objects."""
    import torch

    if not path.exists():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        _log.warning("train     %s is damaged: starting from %s", path, fallback)
        return None
    try:
        saved: dict[str, Any] = torch.load(
            io.BytesIO(content[_DIGEST_BYTES:]), map_location="cpu", weights_only=True
        )
    except (pickle.UnpicklingError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]  # the rest advises to run what is in it
        _log.warning("train     %s cannot be read (%s): starting from %s", path, reason, fallback)
        return None
    return saved
