"""Decide by the gate, register the model as a version, move `champion` on a promotion.

Reads images, manifest.parquet, report.json, model/ and what evaluate found. Writes decision.json
and a folder with the comparison. It runs in every `dvc repro`, because the registry may have
changed; the same model stays the same version.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.data import data_diff
from components.core.data.decoding import DataParams
from components.core.errors import PipelineError
from components.core.gate import decide as gate
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from components.core.training.config import TrainingParams
from components.io import files
from components.io import process as machine
from components.io.data import predictions as answers
from components.io.data.dataset import DataPaths
from components.io.reports import version as version_page
from components.io.reports.decision import Change, decision_page, gallery
from components.io.reports.pages import thumbnails
from components.register import champion as rivals
from components.register import changes
from components.register.candidate import ArtifactPaths, Candidate, read
from components.register.champion import ChampionComparison, EvaluationContext
from components.registry import (
    audit_log as journal,
)
from components.registry import (
    champion as seats,
)
from components.registry import (
    promotion,
)
from components.registry import (
    versions as registry,
)
from components.registry.champion import ChampionStatus
from components.registry.promotion import ChampionChanged
from components.registry.versions import Version
from components.tracking.runs import Run

# Tags of a version that say where it comes from.
_LINEAGE = ("data", "git", "dvc", "model")

# How often the champion may change under our hands before we give up.
_TRIES = 3

_PAGE = "report.html"
_SIDE = 192  # pixels of a picture on the page


class RegisterParams(BaseModel):
    """Section `register` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    from_experiments: bool = Field(description="Register under `dvc exp run` too.")
    gate: GatePolicy


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads; of `training` the device, of `data` the cache."""

    data: DataParams
    training: TrainingParams
    register: RegisterParams


@dataclass(frozen=True, eq=False)
class EvaluatedCandidate:
    """A verdict, and what it was given on."""

    bundle: Candidate
    seat: ChampionStatus
    rival: ChampionComparison
    changes: list[Change]
    receipt: DecisionRecord


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    model: Annotated[Path, "folder of weights and card"] = Path("artifacts/train/model")
    evaluation: Annotated[Path, "metrics of the model"] = Path("artifacts/evaluate/evaluation.json")
    predictions: Annotated[Path, "predictions that they were computed from"] = Path(
        "artifacts/evaluate/predictions.parquet"
    )
    latency: Annotated[Path, "how long one image takes"] = Path("artifacts/evaluate/latency.json")
    decision: Annotated[Path, "JSON to write; equal inputs and registry give equal bytes"] = Path(
        "artifacts/register/decision.json"
    )
    comparison: Annotated[
        Path, "folder to replace: report.html, changes.csv, and champion.parquet if it was compared"
    ] = Path("artifacts/register/comparison")


def run(paths: Paths, params: Params) -> None:
    """Decide, register, and write what was decided and done. A refusal is a result, not an error.

    Raises:
        ChangedInput: the files do not belong together.
        ServiceUnavailable: MLflow does not answer.
        PipelineError: the verdict is `error`; all is written and registered before.
    """
    machine.configure()
    bundle = read(
        ArtifactPaths(
            paths.manifest,
            paths.report,
            paths.model,
            paths.evaluation,
            paths.predictions,
            paths.latency,
        )
    )
    card, settings = bundle.card, params.register
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as log:
        log.tags({"test": bundle.evaluation.test_digest})
        arena = EvaluationContext(log.store, paths, params.data, params.training.device)
        for _ in range(_TRIES):
            judged = _judge(log, arena, bundle, settings)
            _print_verdict(judged)
            if "DVC_EXP_NAME" in os.environ and not settings.from_experiments:
                _write(judged, arena, paths.decision, paths.comparison)
                _print(
                    "not registered: this is a DVC experiment. `dvc exp apply` it, then `dvc repro`"
                )
                break
            with suppress(ChampionChanged):
                _register_and_promote(log, arena, judged, paths.decision, paths.comparison)
                break
            _print("the champion has changed meanwhile: comparing again")
        else:
            raise PipelineError(
                f"{settings.model_name}: the champion changed {_TRIES} times while this model was "
                "compared with it; run `dvc repro register` again when the others are done."
            )
    _print(f"report: {paths.comparison / _PAGE}")
    if judged.receipt.decision.verdict == "error":
        raise PipelineError(f"no decision is possible: {judged.receipt.decision.checks[0].reason}")


def _judge(
    log: Run, arena: EvaluationContext, bundle: Candidate, settings: RegisterParams
) -> EvaluatedCandidate:
    """Let the champion answer the same images, and decide."""
    seat = promotion.seat(log.store, settings.model_name)
    rival = rivals.meet(arena, settings.model_name, seat, bundle)
    past = journal.read(log.store, settings.model_name)
    policy, evaluation = settings.gate, bundle.evaluation
    evidence = Evidence(
        class_names=bundle.card.class_names,
        model_digest=bundle.digest,
        data_digest=bundle.report.data_digest,
        test_digest=evaluation.test_digest,
        evaluation_sha256=bundle.evaluation_sha256,
        predictions_sha256=evaluation.predictions_sha256,
        model_bytes=bundle.size,
        # Only where it counts: it is the one number that no second run repeats.
        latency_p95_ms=bundle.latency.p95_ms if policy.max_latency_ms else None,
        previous_test_uses=log.count_earlier("test"),
        leaked_test_images=bundle.shared,
        revoked_reason=seats.revoked_reason(past, bundle.digest),
        champion=rival.incumbent,
    )
    decision = gate.decide(policy, evidence, evaluation, bundle.answers, rival.answers)
    receipt = DecisionRecord(
        decision=decision,
        policy=policy,
        evidence=evidence,
        data_diff=rival.diff,
        model_name=settings.model_name,
        version=None,
    )
    return EvaluatedCandidate(
        bundle, seat, rival, changes.find(bundle.answers, rival.answers), receipt
    )


def _register_and_promote(
    log: Run, arena: EvaluationContext, judged: EvaluatedCandidate, decision: Path, comparison: Path
) -> None:
    """Make sure of the version, state the verdict on it, and promote it if that is the verdict.

    Raises:
        ChampionChanged: the model was compared with one that is not champion any more.
    """
    bundle, receipt = judged.bundle, judged.receipt
    version = registry.ensure_version(
        log,
        name=receipt.model_name,
        folder=bundle.folder,
        digest=bundle.digest,
        card=bundle.card,
        test_digest=receipt.evidence.test_digest,
    )
    receipt = receipt.model_copy(update={"version": version.number})
    _write(replace(judged, receipt=receipt), arena, decision, comparison)
    _keep_evidence(log, bundle, decision, comparison)
    description = version_page.describe(
        receipt,
        bundle.evaluation,
        bundle.report,
        changes.count(judged.changes),
        lineage={tag: version.tags[tag] for tag in _LINEAGE if tag in version.tags},
        run_route=log.store.route(log.id),
    )
    registry.record_decision(log, version, receipt=decision, description=description)
    seat = judged.seat
    if receipt.decision.verdict == "promote":
        seat = promotion.promote(log.store, version.name, version.number, over=seat)
    _print_outcome(version, receipt, seat, log.link)


def _keep_evidence(log: Run, bundle: Candidate, decision: Path, comparison: Path) -> None:
    """Leave what `replay` and `review` need, and the manifest, among the artifacts of the run."""
    known = files.digest_file(decision)
    if log.tag("evidence") == known:
        return
    kept = [decision, *sorted(comparison.iterdir()), *bundle.places.evidence]
    for path in kept:
        log.file(path, rivals.FOLDER)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / Path(rivals.MANIFEST).name
        data_diff.slim(bundle.manifest).to_parquet(table, index=False)
        log.file(table, rivals.FOLDER)
    log.tags({"evidence": known})


def _write(
    judged: EvaluatedCandidate, arena: EvaluationContext, decision: Path, comparison: Path
) -> None:
    """What was decided, and how the answers differ from the champion's."""
    files.write_artifact(decision, judged.receipt)
    with files.replacing_folder(comparison) as folder:
        files.write_text(folder / _PAGE, _page(judged, arena))
        files.write_text(folder / "changes.csv", changes.to_csv(judged.changes))
        if judged.rival.answers is not None:
            files.write_bytes(folder / "champion.parquet", answers.to_parquet(judged.rival.answers))


def _page(judged: EvaluatedCandidate, arena: EvaluationContext) -> str:
    """The decision for people, with pictures of answers that changed."""
    shown = [change.path for change in gallery(judged.changes)]
    pictures = thumbnails(arena.location.images, shown, arena.data.reader, side=_SIDE)
    return decision_page(judged.receipt, judged.bundle.evaluation, judged.changes, pictures)


def _print_verdict(judged: EvaluatedCandidate) -> None:
    decision = judged.receipt.decision
    _print(version_page.headline(decision, judged.bundle.evaluation))
    for check in decision.checks:
        if check.verdict != "promote":
            _print(f"- {check.reason}")
    _print(version_page.data_words(judged.receipt.data_diff))


def _print_outcome(
    version: Version, receipt: DecisionRecord, seat: ChampionStatus, link: str
) -> None:
    news = "registered" if version.created else "already registered"
    _print(f"{news}: {version.name} version {version.number}, alias candidate")
    if seat.fault:
        _print("who is champion is in doubt: see `python -m pipeline status`")
    elif seat.version is None:
        _print("there is no champion yet")
    elif seat.version != version.number:
        _print(f"champion stays version {seat.version}")
    elif receipt.decision.verdict == "promote":
        _print(f"champion is version {version.number}: models:/{version.name}@champion")
    else:
        _print(f"champion stays version {version.number}, this model, from an earlier verdict")
    if receipt.decision.verdict == "hold" and seat.version != version.number:
        _print(f'to approve it: python -m pipeline approve {version.number} --reason "..."')
    _print(link)


def _print(line: str) -> None:
    print(f"register  {line}", flush=True)
