"""Letting the stored weights of old versions go; `retention` decides which."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from components.registry import removal
from components.registry.retention import RetentionPolicy
from components.tracking.store import open_store
from pipeline.review import add_parser, model_name


def add_parsers(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `prune`; its `act` takes the parsed arguments."""
    parser = add_parser(verbs, "prune", prune)
    parser.add_argument(
        "--older-than", required=True, type=_count, metavar="DAYS", help="younger ones stay"
    )
    parser.add_argument(
        "--keep", required=True, type=_count, metavar="N", help="the newest N versions stay"
    )
    parser.add_argument("--yes", action="store_true", help="delete; otherwise only list")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; say a whole number above 0")
    return int(text)


def prune(arguments: argparse.Namespace) -> int:
    """Delete the weights of old versions that nobody needs, or list them; exit 3 when in doubt."""
    name, now, delete = model_name(arguments), datetime.now(UTC), bool(arguments.yes)
    limits, freed = RetentionPolicy(days=arguments.older_than, keep=arguments.keep), 0
    with open_store() as store:
        for choice in removal.plan_deletion(store, name, limits, now).choices:
            package = choice.package
            title = (
                f"version {package.version}" if package.version else f"upload {package.model_id}"
            )
            size = 0 if choice.reason else removal.size(store, package.model_id)
            stays = choice.reason
            if delete and not stays:
                stays = removal.delete(store, name, package, limits, now)
            if not stays:
                freed += size
                done = "pruned" if delete else "would go"
                age = f"{(now - package.created).days:,} days old"
                print(f"{title}: {done}, {_megabytes(size)}, {age}", flush=True)
            elif package.stored:
                print(f"{title}: stays, {stays}")
    total = f"{name}: {_megabytes(freed)}"
    print(f"{total} pruned" if delete else f"{total} would go; --yes deletes them for good")
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
