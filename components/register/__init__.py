"""Decide by the gate, register the model as a version, make it champion if it passed.

Reads images, manifest.parquet, report.json, model/ and what evaluate wrote. Writes decision.json
and a folder with the comparison. It runs in every `dvc repro`, because the registry may have
changed; the same model stays the same version.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.data.decoding import DataParams
from components.core.errors import PipelineError
from components.core.evaluation.changes import find_changes
from components.core.gate.decide import decide, measure_accuracy
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from components.core.training.config import TrainingParams
from components.io import process
from components.io.data.dataset import DataPaths
from components.io.reports.run import RunPaths, contents, up_to_date, write_page
from components.io.reports.version import describe_version
from components.register import outputs
from components.register.candidate import ArtifactPaths, Candidate, read_candidate
from components.register.champion import EvaluationContext, evaluate_champion
from components.register.outputs import EvaluatedCandidate
from components.registry import audit_log, promotion, versions
from components.registry.champion import ChampionStatus, revoked_reason
from components.registry.promotion import ChampionChanged
from components.registry.versions import Version
from components.tracking import shown
from components.tracking.runs import Run

# Tags of a version that say where it comes from.
_LINEAGE = ("data", "git", "dvc", "model")

# How often the champion may change under our hands before we give up.
_TRIES = 3


class RegisterParams(BaseModel):
    """Section `register` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = Field(
        description="Of the registered model in MLflow."
    )
    from_experiments: bool = Field(description="Register under `dvc exp run` too.")
    gate: GatePolicy = Field(description="What a model must reach.")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads; of `training` the device, of `data` the cache."""

    data: DataParams
    training: TrainingParams
    register: RegisterParams


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    model: Annotated[Path, "folder with weights and card"] = Path("artifacts/train/model")
    evaluation: Annotated[Path, "metrics of the model"] = Path("artifacts/evaluate/evaluation.json")
    predictions: Annotated[Path, "predictions that they were computed from"] = Path(
        "artifacts/evaluate/predictions.parquet"
    )
    latency: Annotated[Path, "how long one image takes"] = Path("artifacts/evaluate/latency.json")
    decision: Annotated[Path, "JSON to write; equal inputs and registry give equal bytes"] = Path(
        "artifacts/register/decision.json"
    )
    comparison: Annotated[
        Path,
        "folder to replace: changes.csv, data_changes.csv, champion.parquet if it was compared",
    ] = Path("artifacts/register/comparison")
    artifacts: Annotated[Path, "folder of all steps' results; report/ in it is written"] = Path(
        "artifacts"
    )


def run(paths: Paths, params: Params) -> None:
    """Decide, register, and write what was decided. A blocked model is a result, not an error.

    Raises:
        ChangedInput: the files do not belong together.
        ServiceUnavailable: MLflow does not answer.
        PipelineError: the verdict is `error`; all is written and registered before.
    """
    process.configure()
    candidate = read_candidate(
        ArtifactPaths(
            paths.manifest,
            paths.report,
            paths.model,
            paths.evaluation,
            paths.predictions,
            paths.latency,
        )
    )
    card, settings = candidate.card, params.register
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as mlflow_run:
        mlflow_run.tags({"test": candidate.evaluation.test_digest})
        context = EvaluationContext(mlflow_run.store, paths, params.data, params.training.device)
        for _ in range(_TRIES):
            evaluated = _evaluate_candidate(mlflow_run, context, candidate, settings)
            outputs.print_verdict(evaluated)
            if "DVC_EXP_NAME" in os.environ and not settings.from_experiments:
                outputs.write(evaluated, paths.decision, paths.comparison)
                outputs.print_next_step(evaluated)
                break
            with suppress(ChampionChanged):
                _register_and_promote(mlflow_run, evaluated, paths)
                break
            outputs.say("the champion has changed meanwhile: comparing again")
        else:
            raise PipelineError(
                f"{settings.model_name}: the champion changed {_TRIES} times while this model was "
                "compared with it; run `dvc repro register` again when the others are done."
            )
        _write_page(mlflow_run, paths, params)
    outcome = evaluated.record.outcome
    if outcome.verdict == "error":
        raise PipelineError(f"no decision is possible: {outcome.checks[0].message}")


def _evaluate_candidate(
    mlflow_run: Run, context: EvaluationContext, candidate: Candidate, settings: RegisterParams
) -> EvaluatedCandidate:
    """Evaluate the champion on the same images, and decide."""
    status = promotion.current_champion(mlflow_run.store, settings.model_name)
    comparison = evaluate_champion(context, settings.model_name, status, candidate)
    past = audit_log.read(mlflow_run.store, settings.model_name)
    policy, evaluation = settings.gate, candidate.evaluation
    evidence = Evidence(
        class_names=candidate.card.class_names,
        model_digest=candidate.digest,
        data_digest=candidate.report.data_digest,
        test_digest=evaluation.test_digest,
        evaluation_sha256=candidate.evaluation_sha256,
        predictions_sha256=evaluation.predictions_sha256,
        model_bytes=candidate.size,
        # Only where it counts: it is the one number that no second run repeats.
        latency_p95_ms=candidate.latency.p95_ms if policy.max_latency_ms else None,
        previous_test_uses=mlflow_run.count_earlier("test"),
        leaked_test_images=candidate.leaked_test_images,
        revoked_reason=revoked_reason(past, candidate.digest),
        champion=comparison.evidence,
    )
    record = DecisionRecord(
        outcome=decide(policy, evidence, candidate.predictions, comparison.predictions),
        policy=policy,
        evidence=evidence,
        data_diff=comparison.data_diff,
        model_name=settings.model_name,
        version=None,
    )
    changes = find_changes(candidate.predictions, comparison.predictions)
    return EvaluatedCandidate(candidate, status, comparison, changes, record)


def _write_page(mlflow_run: Run, paths: Paths, params: Params) -> None:
    """Write the page of the run, now with the verdict, and keep it with the run in MLflow.

    Drawing it takes longer than all else that a repetition does, so one that shows all is kept.
    """
    evaluated = paths.evaluation.parent
    where = RunPaths(paths.artifacts, paths, paths.model, evaluated, paths.decision)
    kept = contents(where)
    page = up_to_date(where) if mlflow_run.tag("report") == kept else None
    origin = shown.origin(mlflow_run)
    if not page and (written := write_page(where, params.data.decode_params, origin)):
        page = written.path
        shown.log_folder(mlflow_run, page.parent, "report")
        mlflow_run.tags({"report": kept})
    if page:
        outputs.say(f"report: {page}")


def _register_and_promote(mlflow_run: Run, evaluated: EvaluatedCandidate, paths: Paths) -> None:
    """Make sure of the version, record the decision on it, and promote it if it passed.

    Raises:
        ChampionChanged: the model was compared with one that is not champion any more.
    """
    version = _ensure_version(mlflow_run, evaluated)
    record = evaluated.record.model_copy(update={"version": version.number})
    evaluated = replace(evaluated, record=record)
    outputs.write(evaluated, paths.decision, paths.comparison)
    outputs.keep_evidence(mlflow_run, evaluated.candidate, paths.decision, paths.comparison)
    description = describe_version(
        evaluated.summary(),
        evaluated.candidate.report,
        uri=f"models:/{version.name}/{version.number}",
        lineage={tag: version.tags[tag] for tag in _LINEAGE if tag in version.tags},
        run_route=mlflow_run.store.route(mlflow_run.id),
    )
    versions.record_decision(mlflow_run, version, decision=paths.decision, description=description)
    verdict, accuracy = record.outcome.verdict, measure_accuracy(evaluated.candidate.predictions)
    title = f"version {version.number}: {verdict} {accuracy.value:.3f}"
    shown.describe(mlflow_run, description, name=title)
    status = evaluated.status
    if record.outcome.verdict == "passed":
        status = promotion.promote(mlflow_run.store, version.name, version.number, over=status)
    _print_outcome(version, evaluated, status)
    outputs.say(mlflow_run.store.version_link(version.name, version.number))


def _ensure_version(mlflow_run: Run, evaluated: EvaluatedCandidate) -> Version:
    candidate, record = evaluated.candidate, evaluated.record
    return versions.ensure_version(
        mlflow_run,
        name=record.model_name,
        folder=candidate.folder,
        digest=candidate.digest,
        card=candidate.card,
        test_digest=record.evidence.test_digest,
    )


def _print_outcome(version: Version, evaluated: EvaluatedCandidate, status: ChampionStatus) -> None:
    known = "registered" if version.created else "already registered"
    outputs.say(f"{known}: {version.name} version {version.number}, alias candidate")
    passed = evaluated.record.outcome.verdict == "passed"
    if status.problem:
        outputs.say("the alias champion cannot be trusted: see `python -m pipeline status`")
    elif status.version is None:
        outputs.say("there is no champion yet")
    elif status.version != version.number:
        outputs.say(f"champion stays version {status.version}")
    elif passed:
        outputs.say(f"champion is version {version.number}: models:/{version.name}@champion")
    else:
        outputs.say(f"champion stays version {version.number}: this model, from an earlier verdict")
    if not passed and status.version != version.number:
        outputs.print_next_step(evaluated)
