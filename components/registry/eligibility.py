"""Which versions a person may approve or reject, and what to do about the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.core.gate.record import DecisionRecord
from components.registry import champion
from components.registry.champion import ChampionStatus

if TYPE_CHECKING:
    from components.tracking.store import Store


def require_approvable(
    store: Store, record: DecisionRecord, version: str, status: ChampionStatus
) -> None:
    """Raise `PipelineError` unless it is blocked, by a comparison with the present champion.

    Args:
        store: where the version is.
        record: of the version.
        version: its number.
        status: of the champion.
    """
    if record.outcome.verdict == "error":
        raise PipelineError(
            f"version {version}: its verdict is error, which nobody can approve. Fix the cause "
            f"(`python -m pipeline review {version}`), then run `dvc repro register`."
        )
    if record.outcome.verdict == "passed":
        raise PipelineError(
            f"version {version}: it passed the gate and needs no approval; only blocked versions "
            "do. Run `dvc repro register` to compare it with the present champion."
        )
    if status.problem:
        raise PipelineError(f"version {version}: nothing was approved, because {status.problem}.")
    if record.evidence.champion.model_digest != status.model_digest:
        found = champion.find_version(store, record.model_name, version)
        tags = dict(found.tags) if found else {}
        raise PipelineError(
            f"version {version}: it was not compared with {status.title}, which is champion now. "
            f"{_how_to_compare(tags)}"
        )


def _how_to_compare(tags: Mapping[str, str]) -> str:
    """The way to a comparison: the pipeline judges what is in artifacts/, not an old version."""
    recorded = tags.get("git", "")
    commit = recorded.removesuffix("-dirty")
    where = f"`git checkout {commit[:12]}` and `dvc checkout`" if commit else "its own checkout"
    way = f"Go to where it was made ({where}), run `dvc repro register`, then approve."
    if commit == recorded:
        return way
    return (
        f"{way} That commit is not exactly the code that ran: files differed from it, so another "
        "model may come out."
    )


def require_rejectable(record: DecisionRecord, version: str, status: ChampionStatus) -> None:
    """Raise `PipelineError` unless it waits for a person, and is not champion.

    Args:
        record: of the version.
        version: its number.
        status: of the champion.
    """
    if status.version == version:
        raise PipelineError(
            f"version {version}: it is champion. `python -m pipeline rollback` brings the previous "
            "one back."
        )
    if record.outcome.verdict != "blocked":
        raise PipelineError(
            f"version {version}: its verdict is {record.outcome.verdict}; only blocked versions "
            "wait for a person."
        )
