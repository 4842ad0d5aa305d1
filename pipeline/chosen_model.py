"""Which model a command uses: the champion, another version, or the one trained last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.core.gate.record import DecisionRecord
from components.core.phrases import short_digest
from components.io import files
from components.registry import stored_model

TRAINED = Path("artifacts/train/model")
_DECISION = Path("artifacts/register/decision.json")
_CACHE = Path("cache")


@dataclass(frozen=True)
class ChosenModel:
    """A model folder, and what a person must know of it.

    Attributes:
        folder: weights and card.
        title: name and version.
        verdict: of the gate, with its number; or that there is none.
        version: its number; empty if it is not registered.
        digest: of the folder.
    """

    folder: Path
    title: str
    verdict: str
    version: str
    digest: str


def choose(name: str, *, version: str | None, trained: bool) -> ChosenModel:
    """The model that the options of a command mean.

    Args:
        name: of the registered model.
        version: its number; None = the champion.
        trained: the model folder of the last training, whatever the gate says.

    Raises:
        PipelineError: there is none.
    """
    if trained:
        return _trained()
    found = stored_model.fetch(name, version, _CACHE)
    title = f"{name} version {found.number}" + ("" if version else ", champion")
    return ChosenModel(found.folder, title, found.headline, found.number, found.digest)


def _trained() -> ChosenModel:
    files.require_file(TRAINED / "card.json")
    digest = files.digest_folder(TRAINED)
    title, verdict, version = f"{TRAINED} ({short_digest(digest)})", "not decided on", ""
    if _DECISION.is_file():
        record = files.read_artifact(_DECISION, DecisionRecord)
        if record.evidence.model_digest == digest:
            version = record.version or ""
            title += f", {record.model_name} version {version}" if version else ""
            verdict = record.outcome.verdict
    return ChosenModel(TRAINED, title, verdict, version, digest)
