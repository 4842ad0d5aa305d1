"""Reading the registry: who is champion, what was decided and why. `rulings` changes it."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.core.artifacts import Evaluation
from components.core.errors import ChangedInput, PipelineError
from components.core.gate.record import DecisionRecord
from components.io import files, params
from components.io.data import predictions as answers
from components.io.reports import version as version_page
from components.register import RegisterParams
from components.registry import champion as seats
from components.registry.audit_log import AuditLog, LoggedEvent
from components.tracking.store import Store, open_store

SETTINGS = Path("params.yaml")

# The decision is no, or a person has to look.
NO = 3

_FOLDER = "register"
_EXAMPLES = 5

_CAUSES = {"gate": "by the gate", "approved": "approved", "rolled_back": "rolled back"}


@dataclass(frozen=True, kw_only=True)
class _Params:
    register: RegisterParams


def add_parsers(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs about decisions; each parser's `act` takes the parsed arguments."""
    from pipeline import rulings

    for name, act in (("status", status), ("history", history), ("review", review)):
        parser = add_parser(verbs, name, act)
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        if act is review:
            parser.add_argument("version", nargs="?", help="default: the candidate")
    rulings.add_parsers(verbs)


def add_parser(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    act: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A verb whose help is the function's first line."""
    text = (act.__doc__ or "").splitlines()[0]
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--model", help="registered model; default: the one in params.yaml")
    parser.set_defaults(act=act)
    return parser


def model_name(arguments: argparse.Namespace) -> str:
    """`--model`, or `register.model_name` of params.yaml."""
    return str(arguments.model or params.load(SETTINGS, _Params).register.model_name)


def status(arguments: argparse.Namespace) -> int:
    """Say who is champion, previous and candidate; exit 3 when an alias was moved by hand."""
    name = model_name(arguments)
    with open_store() as store:
        seat, log = seats.look(store, name)
        shown = seats.aliases(store, name)
        roles = (seats.CHAMPION, seats.PREVIOUS, seats.CANDIDATE)
        rows = {role: _standing(store, log, shown.get(role)) for role in roles}
        faults = list(filter(None, [seat.fault or seats.stray(log, shown)]))
    under_way = _under_way(log)
    if arguments.json:
        print(json.dumps({"model": name, **rows, "faults": faults, "under_way": under_way}))
    else:
        print(f"{name}: {len(log.records):,} records in the journal")
        for role, row in rows.items():
            print(f"{role:<10}{_line(row)}")
        for line in filter(None, (*faults, under_way)):
            print(f"! {line}")
    return NO if faults else 0


def _standing(store: Store, log: AuditLog, number: str | None) -> dict[str, str]:
    """What is known of the version that an alias names."""
    version = seats.find_version(store, log.name, number) if number else None
    if number is None or version is None:
        return {}
    moves = [r for r in log.records if r.action == "promoted" and r.version == number]
    since = moves[-1] if moves else log.verdict_on(number)
    return {
        "version": number,
        "verdict": str((str(version.description).splitlines() or [""])[0]),
        "model_digest": version.tags.get("model", ""),
        "since": since.time if since else "",
        "by": since.who if since else "",
        "how": _CAUSES[since.cause] if since and moves else "judged",
    }


def _line(row: dict[str, str]) -> str:
    if not row:
        return "none"
    return (
        f"version {row['version']}  {row['verdict']}  {row['how']} {_minute(row['since'])} "
        f"{row['by']}"
    )


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"


def _under_way(log: AuditLog) -> str:
    begun = log.open
    if begun is None:
        return ""
    return (
        f"the promotion of version {begun.version} by {begun.who} since {_minute(begun.time)} has "
        "not ended; the next `dvc repro register` or rollback finishes it"
    )


def history(arguments: argparse.Namespace) -> int:
    """Print the journal, newest last, after checking that its chain is unbroken."""
    with open_store() as store:
        log = seats.look(store, model_name(arguments))[1]
    if arguments.json:
        print(json.dumps([record.model_dump(mode="json") for record in log.records]))
        return 0
    print(
        f"{'':>4} {'time (UTC)':<17}{'what':<11}{'version':<9}{'verdict':<9}{'before':<8}who, why"
    )
    for record in log.records:
        print(_row(record).rstrip())
    print(f"{len(log.records):,} records, each with the hash of the one before: unbroken")
    return 0


def _row(record: LoggedEvent) -> str:
    moved = record.action in ("promoting", "promoted", "void") and record.cause != "gate"
    why = f"{_CAUSES[record.cause]}: {record.reason}" if moved else record.reason
    verdict, before = version_page.WORDS.get(record.verdict, ""), record.champion or "-"
    return (
        f"{record.seq:>4} {record.time[:16].replace('T', ' '):<17}{record.action:<11}"
        f"{record.version:<9}{verdict:<9}{before:<8}{record.who}{', ' + why if why else ''}"
    )


@dataclass(frozen=True)
class Case:
    """A judged version with its evidence, checked by digests.

    Attributes:
        number: of the version.
        run_id: the run that the version comes from.
        folder: the evidence that register left with that run.
    """

    number: str
    run_id: str
    receipt: DecisionRecord
    folder: Path


def open_case(store: Store, log: AuditLog, number: str, scratch: Path) -> Case:
    """Fetch what a version was judged on.

    Raises:
        PipelineError: there is no such version, or nobody judged it.
        ChangedInput: the stored decision is not the one in the journal.
    """
    version, verdict = seats.find_version(store, log.name, number), log.verdict_on(number)
    if version is None or verdict is None:
        judged = sorted({int(r.version) for r in log.records if r.action == "decided"})
        raise PipelineError(
            f"{log.name}: version {number} does not exist or was never judged; judged are "
            f"{', '.join(map(str, judged)) or 'none yet, run `dvc repro register`'}."
        )
    run_id = str(version.run_id)
    stored = {entry.path for entry in store.client.list_artifacts(run_id, _FOLDER)}
    folder = scratch / _FOLDER
    if f"{_FOLDER}/decision.json" in stored:
        folder = Path(store.client.download_artifacts(run_id, _FOLDER, str(scratch)))
    path = folder / "decision.json"
    if not path.exists() or files.digest_file(path) != verdict.decision_sha256:
        raise ChangedInput(
            f"{log.name}: the decision stored with run {run_id} is not the one on version {number} "
            "in the journal; run `dvc repro register` to judge the model again."
        )
    return Case(number, run_id, files.read_artifact(path, DecisionRecord), folder)


def review(arguments: argparse.Namespace) -> int:
    """Show why a version was judged as it was; exit 3 unless it passed or is champion."""
    name = model_name(arguments)
    with open_store() as store, tempfile.TemporaryDirectory() as scratch:
        seat, log = seats.look(store, name)
        number = arguments.version or seats.aliases(store, name).get(seats.CANDIDATE)
        if number is None:
            raise PipelineError(f"{name}: there is no candidate yet; run `dvc repro register`.")
        case = open_case(store, log, number, Path(scratch))
        changes = changed_answers(case)
        rulings = [r for r in log.records if r.version == number and r.action == "rejected"]
        headline = _headline(case)
    decision, champion = case.receipt.decision, seat.version == number and not seat.fault
    if arguments.json:
        content = case.receipt.model_dump(mode="json")
        print(json.dumps({**content, "changes": changes, "champion_now": champion}))
    else:
        print(f"{name} version {number}: {headline}")
        _print_checks(case)
        _print_changes(changes)
        print(version_page.data_words(case.receipt.data_diff))
        for ruling in rulings:
            print(f"rejected {_minute(ruling.time)} by {ruling.who}: {ruling.reason}")
        gone = seats.pruned(log, number)
        print(gone or _what_next(case, champion))
    return 0 if champion or decision.verdict == "promote" else NO


def _headline(case: Case) -> str:
    path = case.folder / "evaluation.json"
    if files.digest_file(path) != case.receipt.evidence.evaluation_sha256:
        raise ChangedInput(
            f"run {case.run_id}: its evaluation.json is not the one that was decided on; "
            "run `dvc repro register` to judge the model again."
        )
    evaluation = files.read_artifact(path, Evaluation)
    return version_page.headline(case.receipt.decision, evaluation)


def _print_checks(case: Case) -> None:
    for check in case.receipt.decision.checks:
        value = "" if check.value is None else f"{check.value:.4g}"
        word = version_page.WORDS[check.verdict]
        print(f"  {word:<6}{check.name:<22}{value:>10}  {check.wanted}")
        if check.verdict != "promote":
            print(f"        {check.reason}")


def changed_answers(case: Case) -> dict[str, list[str]]:
    """Test images that are newly wrong and newly right against the champion, by path.

    Both are empty without a comparison.
    """
    evidence = case.receipt.evidence
    if evidence.champion.state != "compared":
        return {"newly wrong": [], "newly right": []}
    ours = answers.read(case.folder / "predictions.parquet", evidence.predictions_sha256)
    champion = evidence.champion.predictions_sha256
    theirs = answers.read(case.folder / "champion.parquet", champion)
    wrong, right = theirs.right & ~ours.right, ours.right & ~theirs.right
    return {
        "newly wrong": [path for path, hit in zip(ours.paths, wrong, strict=True) if hit],
        "newly right": [path for path, hit in zip(ours.paths, right, strict=True) if hit],
    }


def _print_changes(changes: dict[str, list[str]]) -> None:
    for kind, paths in changes.items():
        if paths:
            more = f" and {len(paths) - _EXAMPLES:,} more" if len(paths) > _EXAMPLES else ""
            print(f"{len(paths):,} {kind}: {', '.join(paths[:_EXAMPLES])}{more}")


def _what_next(case: Case, champion: bool) -> str:
    number, verdict = case.number, case.receipt.decision.verdict
    if champion:
        return f"version {number} is champion"
    if verdict == "hold":
        return f'to approve: python -m pipeline approve {number} --reason "..."; or reject'
    if verdict == "error":
        return "an error cannot be approved: mend its cause, then run `dvc repro register`"
    return "it passed; it is not champion (any more): `python -m pipeline history` says why"
