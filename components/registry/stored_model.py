"""A version's model folder on this machine: downloaded once, then found by its digest.

Importing MLflow takes seconds. Where the store is a SQLite file and the folder is in the cache
already, the version is looked up in the file itself, and nothing of MLflow is imported.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.io import files
from components.registry import signature
from components.registry.version_1 import upgrade_headline
from components.tracking import server

if TYPE_CHECKING:
    from components.tracking.store import Store

# Below the cache of the project.
FOLDER = "models"

# The version that was asked for or has the alias, its tag `model`, its description.
_QUERY = """
SELECT v.version, t.value, v.description
FROM model_versions v JOIN model_version_tags t ON t.name = v.name AND t.version = v.version
WHERE v.name = :name AND t.key = 'model' AND v.version = coalesce(
  :version,
  (SELECT version FROM registered_model_aliases WHERE name = :name AND alias = 'champion'))
"""


@dataclass(frozen=True)
class StoredModel:
    """A registered version, with its model folder at hand.

    Attributes:
        name: of the registered model.
        number: of the version.
        digest: of the model folder.
        headline: verdict and number, the first line of its page.
        folder: weights and card.
    """

    name: str
    number: str
    digest: str
    headline: str
    folder: Path


def fetch(name: str, version: str | None, cache: Path) -> StoredModel:
    """A version with its model folder, from the cache or from the artifact store.

    Args:
        name: of the registered model.
        version: its number; None = what the alias `champion` names, as when MLflow serves it.
        cache: of the project; safe to delete.

    Raises:
        PipelineError: there is no such version, or no champion yet, or its weights were pruned.
        ChangedInput: its bytes are not those that the audit log names.
    """
    found = _look_up(name, version, cache)
    if found is not None and _is_intact(found):
        return found
    from components.tracking.store import open_store

    with open_store() as store:
        return _download(store, name, version, cache)


def _look_up(name: str, version: str | None, cache: Path) -> StoredModel | None:
    """What MLflow's SQLite file says about a version; None if it has none, or is another store."""
    file = server.sqlite_file(server.tracking_uri())
    if file is None or not file.is_file() or (version and not version.isdecimal()):
        return None
    number = int(version) if version else None
    try:
        with closing(sqlite3.connect(file)) as connection:
            row = connection.execute(_QUERY, {"name": name, "version": number}).fetchone()
    except sqlite3.Error:  # MLflow says better what is wrong with it
        return None
    return _describe(name, *map(str, row), cache=cache) if row else None


def _describe(name: str, number: str, digest: str, description: str, *, cache: Path) -> StoredModel:
    headline = upgrade_headline(description)
    return StoredModel(name, number, digest, headline, cache / FOLDER / digest)


def _is_intact(found: StoredModel) -> bool:
    if signature.is_required():  # of the package, which is not kept
        return False
    return found.folder.is_dir() and files.digest_folder(found.folder) == found.digest


def _download(store: Store, name: str, version: str | None, cache: Path) -> StoredModel:
    from components.registry import champion, versions

    number = version or champion.aliases(store, name).get(champion.CHAMPION)
    if number is None:
        raise PipelineError(
            f"{name}: has no champion yet; approve a version (`python -m pipeline status`), run "
            "`dvc repro`, or use the model trained last with --trained."
        )
    entry = champion.find_version(store, name, number)
    if entry is None:
        raise PipelineError(
            f"{name}: has no version {number}; `python -m pipeline history` lists them."
        )
    digest, description = entry.tags.get("model", ""), entry.description or ""
    found = _describe(name, number, digest, description, cache=cache)
    if not _is_intact(found):
        with (
            tempfile.TemporaryDirectory() as scratch,
            files.replacing_folder(found.folder) as target,
        ):
            source = versions.download_model(store, name, number, Path(scratch))
            shutil.copytree(source, target, dirs_exist_ok=True)
    return found
