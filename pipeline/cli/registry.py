"""Commands of the registry: who is champion and why, and what a person decides about it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import registry_views as views
from pipeline.cli.common import (
    EXIT_NEEDS_ACTION,
    DryRun,
    Json,
    Model,
    Yes,
    ask,
    model_name,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from components.registry.approvals import Result

_PANEL = "registry"

_EXAMPLES = {
    "status": "status --json",
    "history": "history",
    "review": "review 3",
    "approve": 'approve 3 --reason "the new camera is darker; checked 40 images"',
    "reject": 'reject 3 --reason "cells of type B are missing"',
    "rollback": 'rollback --reason "too many false alarms since Monday"',
    "sync": "sync --dry-run",
    "verify-decision": "verify-decision artifacts/register/decision.json",
    "prune": "prune --older-than 90 --keep 5",
}


def _clean(text: str) -> str:
    """One line of valid Unicode; an empty one is wrong usage."""
    cleaned = " ".join(text.encode(errors="replace").decode().split())
    if not cleaned:
        raise typer.BadParameter("is empty; say why")
    return cleaned


Version = Annotated[str, typer.Argument(metavar="VERSION", help="Number of the version.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", callback=_clean, help="For the audit log.")
]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    commands: tuple[Callable[..., object], ...] = (
        status, history, review, approve, reject, rollback, sync, verify_decision, prune,
    )  # fmt: skip
    for command in commands:
        name = command.__name__.replace("_", "-")
        example = f"Example: python -m pipeline {_EXAMPLES[name]}"
        app.command(name, rich_help_panel=_PANEL, epilog=example)(command)


def status(
    model: Model = None,
    json: Json = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also read the champion back and compare its bytes.")
    ] = False,
) -> int:
    """Show champion, previous and candidate; exit 3 when something is not as it was recorded."""
    from components.core.phrases import count
    from components.registry import champion
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store:
        current, log = champion.read_champion(store, name)
        aliases = champion.aliases(store, name)
        rows = {role: views.role(store, log, aliases.get(role)) for role in views.ROLES}
        damage, intact = views.read_back(store, current, name) if verify else ("", "")
    problem, pending = current.problem or champion.alias_drift(log, aliases), views.pending(log)
    problems = [problem] if problem else []
    problems += [*champion.alias_lookalikes(aliases), *([damage] if damage else [])]
    if json:
        said = {"verified": intact} if verify else {}
        print_json({"model": name, **rows, "problems": problems, "pending": pending, **said})
    else:
        print(f"{name}: {count(len(log.events), 'event')} in the audit log")
        print_table(views.STATUS, [views.status_row(role, row) for role, row in rows.items()])
        views.print_links(rows)
        marked = [f"! {line}" for line in (*problems, pending) if line]
        print(*(line for line in (intact, *marked) if line), sep="\n", end="")
        print(end="\n" if intact or marked else "")
    return EXIT_NEEDS_ACTION if problems else 0


def history(model: Model = None, json: Json = False) -> None:
    """Print the audit log, newest last, after checking that its chain is unbroken."""
    from components.registry import audit_log
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store:
        events = audit_log.read(store, name).events
    if json:
        print_json([event.model_dump(mode="json") for event in events])
        return
    print_table(views.HISTORY, map(views.history_row, events))
    print(f"{len(events):,} events, each with the hash of the one before: unbroken")


def review(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Default: the candidate.")
    ] = None,
    model: Model = None,
    json: Json = False,
) -> int:
    """Show why a version was decided on as it was; exit 3 unless it passed or is champion."""
    from components.core.errors import PipelineError
    from components.io.reports.summary import read_summary
    from components.registry import champion, decisions
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store, tempfile.TemporaryDirectory() as scratch:
        current, log = champion.read_champion(store, name)
        number = version or champion.aliases(store, name).get(champion.CANDIDATE)
        if number is None:
            raise PipelineError(f"{name}: there is no candidate yet; run `dvc repro register`.")
        stored = decisions.load_decision(store, log, number, Path(scratch))
        stored.require_evaluation()
        is_champion = current.version == number and not current.problem
        summary = read_summary(stored.path, is_champion=is_champion)
        link = store.version_link(name, number)
    if json:
        content = stored.record.model_dump(mode="json")
        paths = summary.changed_paths()
        print_json({**content, "changes": paths, "champion_now": is_champion})
    else:
        views.print_review(summary, log, number)
        print(link)
    return 0 if is_champion or stored.record.outcome.verdict == "passed" else EXIT_NEEDS_ACTION


def approve(
    version: Version,
    reason: Reason,
    model: Model = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Make a version champion that the gate blocked."""
    from components.registry import approvals
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store:
        _print(approvals.approve(store, name, version, reason, confirm=ask(yes), dry_run=dry_run))


def reject(
    version: Version,
    reason: Reason,
    model: Model = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Decide that a version that the gate blocked does not become champion."""
    from components.registry import approvals
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store:
        _print(approvals.reject(store, name, version, reason, confirm=ask(yes), dry_run=dry_run))


def rollback(
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="Default: the previous champion."),
    ] = None,
    model: Model = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Bring a previous champion back, after a smoke test of its stored package."""
    from components.registry import approvals
    from components.tracking.store import open_store

    name = model_name(model)
    with open_store() as store:
        _print(approvals.rollback(store, name, to, reason, confirm=ask(yes), dry_run=dry_run))


def _print(result: Result) -> None:
    print(views.printable(result.message), flush=True)


def sync(model: Model = None, dry_run: DryRun = False) -> int:
    """Act on the tag `review` = approved | rejected that people set in the MLflow UI."""
    from components.registry import approvals
    from components.tracking.store import open_store

    name, states = model_name(model), set()
    with open_store() as store:
        for result in approvals.sync(store, name, dry_run=dry_run):
            _print(result)
            states.add(result.state)
    if not states:
        print(f"{name}: no version has the tag `{approvals.TAG}`")
    return EXIT_NEEDS_ACTION if "refused" in states else 0


def verify_decision(
    decision: Annotated[
        Path, typer.Argument(metavar="FILE", help="A decision.json, with its evidence beside it.")
    ] = Path("artifacts/register/decision.json"),
) -> None:
    """Compute a decision again from its stored evidence, and compare every byte."""
    from pipeline.verify_decision import verify

    print(verify(decision))


def prune(
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=1, help="Younger ones stay.")
    ],
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="The newest N versions stay.")
    ],
    model: Model = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; otherwise only list.")] = False,
) -> None:
    """Delete the weights of old versions that nobody needs, or list them; exit 3 when in doubt."""
    from components.registry import deletion
    from components.registry.retention import RetentionPolicy
    from components.tracking.store import open_store

    name, now, freed = model_name(model), datetime.now(UTC), 0
    policy = RetentionPolicy(days=older_than, keep=keep)
    with open_store() as store:
        for decision in deletion.plan_deletion(store, name, policy, now).decisions:
            stored, stays = decision.model, decision.reason
            size = 0 if stays else deletion.size(store, stored.model_id)
            if yes and not stays:
                stays = deletion.delete(store, name, stored, policy, now)
            if not stays:
                freed += size
                done = "pruned" if yes else "would be pruned"
                age = f"{(now - stored.created).days:,} days old"
                print(f"{stored.title}: {done}, {views.megabytes(size)}, {age}", flush=True)
            elif stored.stored:
                print(f"{stored.title}: stays, {stays}")
    total = f"{name}: {views.megabytes(freed)}"
    print(f"{total} pruned" if yes else f"{total} would be pruned; --yes deletes them for good")
