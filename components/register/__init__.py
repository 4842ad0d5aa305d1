"""Decide by the gate, register the model as a version, move `champion` on a promotion.

Reads images, manifest.parquet, report.json, model/ and what evaluate found. Writes decision.json
and a folder with the comparison. It runs in every `dvc repro`, because the registry may have
changed; the same model stays the same version.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components.core import data_diff, gate
from components.core.decision import Evidence, GatePolicy, Receipt
from components.core.errors import PipelineError
from components.core.images import DataParams
from components.core.plan import TrainingParams
from components.io import answers, command, files, machine, tracking
from components.io.dataset import Location
from components.io.decision_page import Change, decision_page, gallery
from components.io.report import thumbnails
from components.io.tracking import journal, promotion, registry, seats, version_page
from components.io.tracking.promotion import ChampionChanged
from components.io.tracking.registry import Version
from components.io.tracking.runs import Run
from components.io.tracking.seats import Seat
from components.register import changes
from components.register import rival as rivals
from components.register.bundle import Bundle, Places, read
from components.register.rival import Arena, Rival

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
class Judged:
    """A verdict, and what it was given on."""

    bundle: Bundle
    seat: Seat
    rival: Rival
    changes: list[Change]
    receipt: Receipt


def run(
    *,
    images: Path,
    manifest: Path,
    report: Path,
    model: Path,
    evaluation: Path,
    predictions: Path,
    latency: Path,
    cache: Path,
    decision: Path,
    comparison: Path,
    params: Params,
) -> None:
    """Decide, register, and write what was decided and done. A refusal is a result, not an error.

    Args:
        images: folder of the pictures; the champion is asked about the test split.
        manifest: rows of all files.
        report: validation report of the data.
        model: folder of weights and card.
        evaluation: what the model reached.
        predictions: table that this was computed from.
        latency: how long one picture takes.
        cache: folder of decoded pixels, and of the champion's answers.
        decision: JSON to write; equal inputs and registry give equal bytes.
        comparison: folder to replace: report.html, changes.csv, and champion.parquet if the
            champion answered.
        params: settings.

    Raises:
        ChangedInput: the files do not belong together.
        ServiceUnavailable: MLflow does not answer.
        PipelineError: the verdict is `error`; all is written and registered before.
    """
    machine.prepare()
    bundle = read(Places(manifest, report, model, evaluation, predictions, latency))
    card, settings = bundle.card, params.register
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as log:
        log.tags({"test": bundle.evaluation.test_digest})
        location = Location(images, manifest, report, cache)
        arena = Arena(log.store, location, params.data, params.training.device)
        for _ in range(_TRIES):
            judged = _judge(log, arena, bundle, settings)
            _print_verdict(judged)
            if "DVC_EXP_NAME" in os.environ and not settings.from_experiments:
                _write(judged, arena, decision, comparison)
                _print(
                    "not registered: this is a DVC experiment. `dvc exp apply` it, then `dvc repro`"
                )
                break
            with suppress(ChampionChanged):
                _settle(log, arena, judged, decision, comparison)
                break
            _print("the champion has changed meanwhile: comparing again")
        else:
            raise PipelineError(
                f"{settings.model_name}: the champion changed {_TRIES} times while this model was "
                "compared with it; run `dvc repro register` again when the others are done."
            )
    _print(f"report: {comparison / _PAGE}")
    if judged.receipt.decision.verdict == "error":
        raise PipelineError(f"no decision is possible: {judged.receipt.decision.checks[0].reason}")


def _judge(log: Run, arena: Arena, bundle: Bundle, settings: RegisterParams) -> Judged:
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
        earlier_uses=log.count_earlier("test"),
        shared_with_training=bundle.shared,
        withdrawn=seats.withdrawn(past, bundle.digest),
        champion=rival.incumbent,
    )
    decision = gate.decide(policy, evidence, evaluation, bundle.answers, rival.answers)
    receipt = Receipt(
        decision=decision,
        policy=policy,
        evidence=evidence,
        data_diff=rival.diff,
        model_name=settings.model_name,
        version=None,
    )
    return Judged(bundle, seat, rival, changes.find(bundle.answers, rival.answers), receipt)


def _settle(log: Run, arena: Arena, judged: Judged, decision: Path, comparison: Path) -> None:
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
    registry.state_verdict(log, version, receipt=decision, description=description)
    seat = judged.seat
    if receipt.decision.verdict == "promote":
        seat = promotion.promote(log.store, version.name, version.number, over=seat)
    _print_outcome(version, receipt, seat, log.link)


def _keep_evidence(log: Run, bundle: Bundle, decision: Path, comparison: Path) -> None:
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


def _write(judged: Judged, arena: Arena, decision: Path, comparison: Path) -> None:
    """What was decided, and how the answers differ from the champion's."""
    files.write_artifact(decision, judged.receipt)
    with files.replacing_folder(comparison) as folder:
        files.write_text(folder / _PAGE, _page(judged, arena))
        files.write_text(folder / "changes.csv", changes.to_csv(judged.changes))
        if judged.rival.answers is not None:
            files.write_bytes(folder / "champion.parquet", answers.to_parquet(judged.rival.answers))


def _page(judged: Judged, arena: Arena) -> str:
    """The decision for people, with pictures of answers that changed."""
    shown = [change.path for change in gallery(judged.changes)]
    pictures = thumbnails(arena.location.images, shown, arena.data.reader, side=_SIDE)
    return decision_page(judged.receipt, judged.bundle.evaluation, judged.changes, pictures)


def _print_verdict(judged: Judged) -> None:
    decision = judged.receipt.decision
    _print(version_page.headline(decision, judged.bundle.evaluation))
    for check in decision.checks:
        if check.verdict != "promote":
            _print(f"- {check.reason}")
    _print(version_page.data_words(judged.receipt.data_diff))


def _print_outcome(version: Version, receipt: Receipt, seat: Seat, link: str) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this step; returns the exit code."""
    return command.run_step(run, Params, argv)
