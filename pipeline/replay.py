"""Prove a decision: compute it again from the stored evidence and compare every byte."""

from __future__ import annotations

from pathlib import Path

from components.core.artifacts import Evaluation
from components.core.errors import ChangedInput, MissingInput
from components.core.gate import decide as gate
from components.core.gate.record import DecisionRecord
from components.io import files
from components.io.data import predictions as answers

# Where evidence lies, seen from the decision: beside it among a run's artifacts, or where the
# pipeline writes it.
_FOLDERS = (".", "comparison", "../evaluate")


def replay(decision: Path) -> str:
    """Compute the verdict again; return the sentence to print.

    Args:
        decision: a decision.json, with evaluation.json, predictions.parquet and, after a
            comparison, champion.parquet where register left them or beside it.

    Raises:
        MissingInput: evidence is absent.
        ChangedInput: evidence was changed, or another verdict comes out.
    """
    receipt = files.read_artifact(decision, DecisionRecord)
    evidence = receipt.evidence
    stated = _find(decision, "evaluation.json")
    if (found := files.digest_file(stated)) != evidence.evaluation_sha256:
        raise ChangedInput(
            f"{stated}: has SHA-256 {found[:12]}, but {decision} was made with "
            f"{evidence.evaluation_sha256[:12]}; restore it with `dvc checkout`."
        )
    said = answers.read(_find(decision, "predictions.parquet"), evidence.predictions_sha256)
    champion, rival = evidence.champion, None
    if champion.state == "compared":
        rival = answers.read(_find(decision, "champion.parquet"), champion.predictions_sha256)
    evaluation = files.read_artifact(stated, Evaluation)
    again = gate.decide(receipt.policy, evidence, evaluation, said, rival)
    if files.to_json(receipt.model_copy(update={"decision": again})) != decision.read_text():
        raise ChangedInput(
            f"{decision}: says {receipt.decision.verdict}, but its evidence gives {again.verdict} "
            f"({again.checks[0].reason}), or other words; the file was changed, or the gate was. "
            "Run `dvc repro register` to decide anew."
        )
    return f"{decision}: {again.verdict}, recomputed from {len(said.paths):,} answers, same bytes"


def _find(decision: Path, name: str) -> Path:
    places = [decision.parent / folder / name for folder in _FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise MissingInput(
        f"{name}: is not beside {decision} and not at {places[-1]}; run `dvc checkout`, or fetch "
        "the folder `register` of the model's MLflow run."
    )
