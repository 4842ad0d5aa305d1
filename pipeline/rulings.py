"""What a person decides about a version: approve, reject, sync, rollback."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from components.core.errors import PipelineError
from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import lock, promotion
from components.registry.audit_log import AuditLog, AuditLogMoved, Cause, Event, LoggedEvent
from components.registry.champion import ChampionStatus
from components.registry.verification import verify
from components.tracking.store import Store, open_store
from pipeline import review
from pipeline.review import Case, add_parser, model_name, open_case

# Set in the MLflow UI, acted on by `sync`; set by approve and reject, so that the UI shows them.
TAG, REASON_TAG = "review", "review.reason"

_USAGE = 2


def add_parsers(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs that change who is champion."""
    for name, act in (("approve", approve), ("reject", reject), ("rollback", rollback)):
        parser = add_parser(verbs, name, act)
        if act is rollback:
            parser.add_argument("--to", metavar="VERSION", help="default: the former champion")
        else:
            parser.add_argument("version")
        parser.add_argument("--reason", required=True, type=_reason, help="for the journal")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    parser = add_parser(verbs, "sync", sync)
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")


def _reason(text: str) -> str:
    cleaned = " ".join(text.encode(errors="replace").decode().split())
    if not cleaned:
        raise argparse.ArgumentTypeError("is empty; say why")
    return cleaned


def approve(arguments: argparse.Namespace) -> int:
    """Make a version champion that the gate holds for a person to decide."""
    name, number, dry = model_name(arguments), arguments.version, arguments.dry_run
    with open_store() as store, tempfile.TemporaryDirectory() as scratch:
        seat, log = _where_we_stand(store, name, dry)
        if seat.version == number and not seat.fault:
            print(f"version {number} is champion already")
            return 0
        _require_weights(log, number)
        over = _require_approvable(open_case(store, log, number, Path(scratch)), seat)
        plan = f"version {number} of {name} becomes champion, {_instead(seat)}"
        if (answer := _confirmed(arguments, plan)) is not None:
            return answer
        _approve(store, name, number, over, arguments.reason)
    return 0


def _where_we_stand(store: Store, name: str, dry: bool) -> tuple[ChampionStatus, AuditLog]:
    """Champion and journal; an interrupted promotion is finished first, unless nothing may move."""
    if not dry:
        promotion.seat(store, name)
    return seats.look(store, name)


def _instead(seat: ChampionStatus) -> str:
    return f"instead of version {seat.version}" if seat.version else "the first one"


def _require_weights(log: AuditLog, number: str) -> None:
    if gone := seats.pruned(log, number):
        raise PipelineError(f"{log.name}: version {number} cannot become champion: {gone}.")


def _require_approvable(case: Case, seat: ChampionStatus) -> ChampionStatus:
    """The champion that the version was compared with, if it may be approved."""
    number, verdict = case.number, case.receipt.decision.verdict
    if verdict == "error":
        raise PipelineError(
            f"version {number}: its verdict is error, which nobody can approve. Mend the cause "
            f"(`python -m pipeline review {number}`), then run `dvc repro register`."
        )
    if verdict == "promote":
        raise PipelineError(
            f"version {number}: it passed the gate and needs no approval; only `hold` does. Run "
            "`dvc repro register` to judge it against the present champion."
        )
    if seat.fault:
        raise PipelineError(f"version {number}: nothing was approved, because {seat.fault}.")
    if case.receipt.evidence.champion.model_digest != seat.model_digest:
        raise PipelineError(
            f"version {number}: it was not compared with {_title(seat)}, which is champion now. Run"
            " `dvc repro register` to compare them, then approve."
        )
    return seat


def _title(seat: ChampionStatus) -> str:
    return f"version {seat.version}" if seat.version else "no champion"


def _confirmed(arguments: argparse.Namespace, plan: str) -> int | None:
    """None to go on; otherwise the exit code: nothing shall be done, or nobody can be asked."""
    if arguments.dry_run:
        print(f"would be done: {plan}")
        return 0
    if arguments.yes:
        return None
    if not sys.stdin.isatty():
        print(f"error: {plan}: say --yes, for there is no terminal to ask at.", file=sys.stderr)
        return _USAGE
    if input(f"{plan}. Go on? [y/N] ").strip().lower() in ("y", "yes"):
        return None
    print("nothing was changed")
    return 0


def _approve(store: Store, name: str, number: str, over: ChampionStatus, reason: str) -> None:
    _move(store, name, number, over, "approved", reason)
    _show(store, name, number, "approved", reason)
    print(f"approved: champion is version {number}: models:/{name}@{seats.CHAMPION}")


def _move(
    store: Store, name: str, number: str, over: ChampionStatus, cause: Cause, reason: str
) -> None:
    """Prove that the stored package is whole and answers; then make it champion."""
    version, verdict = (
        seats.find_version(store, name, number),
        journal.read(store, name).verdict_on(number),
    )
    if version is None or verdict is None:
        raise PipelineError(
            f"{name}: version {number} does not exist any more; `python -m pipeline history` names "
            "the others."
        )
    print(f"reading version {number} back and letting it answer", flush=True)
    verify(store, seats.logged_model(version), verdict.model_digest, verdict.package_digest)
    promotion.promote(store, name, number, over=over, cause=cause, reason=reason)


def _show(store: Store, name: str, number: str, ruling: str, reason: str) -> None:
    for tag, value in {TAG: ruling, REASON_TAG: reason}.items():
        store.client.set_model_version_tag(name, number, tag, value)


def reject(arguments: argparse.Namespace) -> int:
    """Decide that a version that the gate holds does not become champion."""
    name, number = model_name(arguments), arguments.version
    with open_store() as store, tempfile.TemporaryDirectory() as scratch:
        seat, log = _where_we_stand(store, name, arguments.dry_run)
        case = open_case(store, log, number, Path(scratch))
        if seats.ruling(log, number) == "rejected":
            print(f"version {number} is rejected already")
            return 0
        _require_rejectable(case, seat)
        plan = f"version {number} of {name} is rejected for good"
        if (answer := _confirmed(arguments, plan)) is not None:
            return answer
        _reject(store, log, number, arguments.reason)
    return 0


def _require_rejectable(case: Case, seat: ChampionStatus) -> None:
    number, verdict = case.number, case.receipt.decision.verdict
    if seat.version == number:
        raise PipelineError(
            f"version {number}: it is champion. `python -m pipeline rollback` brings the former one"
            " back."
        )
    if verdict != "hold":
        raise PipelineError(
            f"version {number}: its verdict is {verdict}; only `hold` waits for a person."
        )


def _reject(store: Store, log: AuditLog, number: str, reason: str) -> None:
    """Append the rejection, behind whatever others wrote meanwhile."""
    verdict = log.verdict_on(number)
    assert verdict is not None
    changes = {"action": "rejected", "reason": reason, "checks": {}}
    entry: Event = verdict.entry.model_copy(update=changes)
    while True:
        try:
            with lock.held(store, log.name):
                journal.append(store, journal.read(store, log.name), entry)
            break
        except AuditLogMoved:
            continue
    _show(store, log.name, number, "rejected", reason)
    print(f"rejected: version {number}")


def sync(arguments: argparse.Namespace) -> int:
    """Act on the tag `review` = approved | rejected that people set in the MLflow UI."""
    name, refused = model_name(arguments), False
    with open_store() as store:
        versions = store.client.search_model_versions(f"name='{name}'")
        asked = {
            str(version.version): version.tags
            for version in versions
            if version.tags.get(TAG) in ("approved", "rejected")
        }
        for number in sorted(asked, key=int):
            reason = asked[number].get(REASON_TAG, "") or "by the tag in the MLflow UI"
            try:
                _sync(store, name, number, asked[number][TAG], reason, arguments.dry_run)
            except PipelineError as error:
                print(f"refused: {error}")
                refused = True
    if not asked:
        print(f"{name}: no version carries the tag `{TAG}`")
    return review.NO if refused else 0


def _sync(store: Store, name: str, number: str, ruling: str, reason: str, dry: bool) -> None:
    seat, log = _where_we_stand(store, name, dry)
    past = [r for r in log.records if r.version == number and r.action != "pruned"]
    if seats.ruling(log, number) == ruling or (seat.version == number and ruling == "approved"):
        print(f"version {number}: {ruling} already, {past[-1].time[:10]} by {past[-1].who}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        case = open_case(store, log, number, Path(scratch))
    if ruling == "approved":
        _require_weights(log, number)
        over = _require_approvable(case, seat)
    else:
        _require_rejectable(case, seat)
    if dry:
        print(f"would be done: version {number} is {ruling}: {reason}")
    elif ruling == "approved":
        _approve(store, name, number, over, reason)
    else:
        _reject(store, log, number, reason)


def rollback(arguments: argparse.Namespace) -> int:
    """Bring a former champion back, after proving that its stored package is whole and answers."""
    name = model_name(arguments)
    with open_store() as store:
        seat, log = _where_we_stand(store, name, arguments.dry_run)
        last = log.champion
        if last is None:
            raise PipelineError(
                f"{name}: the journal knows no champion, so there is nothing to roll back to."
            )
        target = arguments.to or _former(last, seat)
        if seat.version == target and not seat.fault:
            print(f"version {target} is champion already, since {last.time[:16]} by {last.who}")
            return 0
        _require_served(log, target)
        _require_weights(log, target)
        plan = f"version {target} of {name} becomes champion again, {_instead(seat)}"
        if (answer := _confirmed(arguments, plan)) is not None:
            return answer
        _move(store, name, target, seat, "rolled_back", arguments.reason)
        print(f"rolled back: champion is version {target}: models:/{name}@{seats.CHAMPION}")
        if seat.version:
            print(f"version {seat.version} is revoked_reason: only a person can bring it back")
    return 0


def _former(last: LoggedEvent, seat: ChampionStatus) -> str:
    """Where a rollback goes by itself; the second one in a row stays where the first one went."""
    if seat.fault:
        raise PipelineError(f"{seat.fault}.")
    if last.cause == "rolled_back":
        return last.version
    if not last.champion:
        raise PipelineError(
            f"version {last.version} is the first champion: there is none before it to roll back to"
            "; train a better model, or `--to` a version that was champion once."
        )
    return last.champion


def _require_served(log: AuditLog, target: str) -> None:
    served = {r.model_digest for r in log.records if r.action == "promoted"}
    verdict = log.verdict_on(target)
    if verdict is None or verdict.model_digest not in served:
        known = sorted({int(r.version) for r in log.records if r.action == "promoted"})
        raise PipelineError(
            f"{log.name}: version {target} never was champion; these were: "
            f"{', '.join(map(str, known))}. A version that is held is approved, not rolled back to."
        )
