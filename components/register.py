"""Decide by the gate, register the model as a version, move `champion` on a promotion.

Reads model/, evaluation.json, predictions.parquet and report.json. Writes decision.json. It runs in
every `dvc repro`, because the registry may have changed; the same model stays the same version.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components.core import gate
from components.core.artifacts import Evaluation, Receipt, ValidationReport
from components.core.errors import ChangedInput, InvalidData
from components.core.gate import GatePolicy
from components.io import command, files, models, tracking
from components.io.tracking import registry, version_page
from components.io.tracking.registry import Outcome, Submission


class RegisterParams(BaseModel):
    """Section `register` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    from_experiments: bool = Field(description="Register under `dvc exp run` too.")
    gate: GatePolicy


@dataclass(frozen=True, kw_only=True)
class Params:
    """The section that this step reads."""

    register: RegisterParams


def run(
    *,
    model: Path,
    evaluation: Path,
    predictions: Path,
    report: Path,
    decision: Path,
    params: Params,
) -> None:
    """Decide, register, and write what was decided and done. A refusal is a result, not an error.

    Args:
        model: folder of weights and card.
        evaluation: evidence for the gate.
        predictions: table that the evidence was computed from.
        report: validation report of the data.
        decision: JSON to write; equal inputs and registry give equal bytes.
        params: settings.

    Raises:
        ChangedInput: the files do not belong together.
        ServiceUnavailable: MLflow does not answer.
    """
    submission = _submission(model, evaluation, report, params.register)
    _require_bound(submission, evaluation, predictions, report)
    _print_verdict(submission)
    if "DVC_EXP_NAME" in os.environ and not params.register.from_experiments:
        files.write_artifact(decision, _receipt(submission, version=None))
        _print("not registered: this is a DVC experiment. `dvc exp apply` it, then `dvc repro`")
        return
    card = submission.card
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as log:
        outcome = registry.register(log, submission)
        files.write_artifact(decision, _receipt(submission, outcome.version))
        log.file(decision, "register")
        _print_outcome(submission, outcome, log.link)


def _submission(model: Path, evaluation: Path, report: Path, params: RegisterParams) -> Submission:
    evidence = files.read_artifact(evaluation, Evaluation)
    return Submission(
        name=params.model_name,
        folder=model,
        digest=files.digest_folder(model),
        card=models.load_card(model),
        evaluation=evidence,
        report=files.read_artifact(report, ValidationReport),
        decision=gate.decide(params.gate, evidence),
    )


def _require_bound(
    submission: Submission, evaluation: Path, predictions: Path, report: Path
) -> None:
    """Raise unless model, evidence, predictions and data are of one and the same execution."""
    evidence, card, data = submission.evaluation, submission.card, submission.report
    files.require_file(predictions)
    found = files.digest_file(predictions)
    _require_same(submission.folder, submission.digest, evaluation, evidence.model_digest)
    _require_same(predictions, found, evaluation, evidence.predictions_sha256)
    trained_on = submission.folder / models.CARD
    _require_same(evaluation, evidence.data_digest, trained_on, card.data_digest, "data digest")
    _require_same(report, data.data_digest, trained_on, card.data_digest, "data digest")
    if not card.class_names == data.class_names == [c.name for c in evidence.per_class]:
        raise ChangedInput(
            f"{trained_on}: its classes are not those of {report} and {evaluation}, in the same "
            "order; run `dvc repro register`."
        )
    if not data.success:
        raise InvalidData(f"{report}: the images break a rule; mend them, then run `dvc repro`.")


def _require_same(path: Path, found: str, witness: Path, wanted: str, what: str = "digest") -> None:
    if found != wanted:
        raise ChangedInput(
            f"{path}: its {what} is {found[:12]}, but {witness} was made with {wanted[:12]}; run "
            "`dvc repro evaluate register`."
        )


def _receipt(submission: Submission, version: str | None) -> Receipt:
    return Receipt(
        decision=submission.decision,
        model_name=submission.name,
        version=version,
        model_digest=submission.digest,
        data_digest=submission.card.data_digest,
        predictions_sha256=submission.evaluation.predictions_sha256,
    )


def _print_verdict(submission: Submission) -> None:
    decision = submission.decision
    _print(version_page.headline(decision, submission.evaluation))
    failing = [check.reason for check in decision.checks if check.verdict != "promote"]
    for reason in failing:
        _print(f"- {reason}")
    if failing:
        _print("to pass: improve data or training, or change register.gate; then `dvc repro`")


def _print_outcome(submission: Submission, outcome: Outcome, link: str) -> None:
    name, version, champion = submission.name, outcome.version, outcome.champion
    news = "registered" if outcome.created else "already registered"
    _print(f"{news}: {name} version {version}, alias candidate")
    promoted = submission.decision.verdict == "promote"
    if promoted:
        _print(f"champion is version {version}: models:/{name}@champion")
    elif champion == version:
        _print(f"champion stays version {version}, this model, from an earlier verdict")
    elif champion:
        _print(f"champion stays version {champion}")
    else:
        _print("there is no champion yet")
    _print(link)


def _print(line: str) -> None:
    print(f"register  {line}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this step; returns the exit code."""
    return command.run_step(run, Params, argv)


if __name__ == "__main__":
    raise SystemExit(main())
