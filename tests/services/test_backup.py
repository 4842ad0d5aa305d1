"""Backup and restore as the jobs of the overlays do it, with a real S3 between."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from infra.kustomize.base.backup import copies
from tests.processes import free_port
from tests.services.overlay import BASE, MODEL, Services, require
from tests.services.servers import BINARIES, as_postgres

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

# Tables whose rows must come back, each with what tells its rows apart.
TABLES = {
    "experiments": "name",
    "runs": "run_uuid",
    "model_versions": "name || version",
    "registered_model_aliases": "name || alias || version",
    "users": "username || password_hash",
}
USER = {"PGSSLMODE": "verify-full", "PGUSER": "backup"}
BUCKET = {"BACKUP_BUCKET": "backups", "BACKUP_MAX_AGE_HOURS": "30"}

Done = subprocess.CompletedProcess[str]


def dump(services: Services, place: Path) -> Path:
    place.mkdir(parents=True)
    require(services.run("sh", BASE / "backup" / "dump.sh", place, **USER))
    return place


def copy(services: Services, verb: str, place: Path) -> Done:
    place.mkdir(parents=True, exist_ok=True)
    return services.run(sys.executable, BASE / "backup" / "copies.py", verb, place, **BUCKET)


def restore(services: Services, dumps: Path, target: Path) -> Done:
    target.mkdir(parents=True)
    before = []
    if os.geteuid() == 0:
        shutil.chown(target, "postgres")
        before = ["runuser", "-u", "postgres", "--preserve-environment", "--"]
    return services.run(*before, "sh", BASE / "backup" / "drill.sh", dumps, target)


def fingerprints() -> str:
    """A query: for each table the number of its rows and a digest of them."""
    parts = (
        f"SELECT '{table}', count(*), md5(string_agg({row}, ',' ORDER BY {row})) FROM {table}"
        for table, row in TABLES.items()
    )
    return " UNION ALL ".join(parts) + " ORDER BY 1"


@contextmanager
def restored(target: Path) -> Iterator[int]:
    """The restored PostgreSQL again, after its drill; gives its port."""
    port, data = free_port(), target / "data"
    ctl = [BINARIES[-1] / "pg_ctl", "-D", data, "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={target}"
    as_postgres(*ctl, "-l", target / "log", "-o", options, "start")
    try:
        yield port
    finally:
        as_postgres(*ctl, "-m", "immediate", "stop")


@pytest.fixture
def place(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that the user postgres may enter; the bucket is empty before."""
    path = folder / request.node.name[:40]
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def empty_bucket(services: Services) -> None:
    s3 = services.storage.client(services.secret("s3-admin"))
    for entry in s3.list_objects_v2(Bucket="backups").get("Contents", []):
        s3.delete_object(Bucket="backups", Key=entry["Key"])


def push_as_of(services: Services, dumps: Path, now: datetime) -> str:
    s3 = services.storage.client(services.secret("s3-backup"))
    return copies.push(s3, "backups", dumps, now)


@pytest.mark.row("N15")
@pytest.mark.usefixtures("first_model")
def test_what_was_dumped_comes_back_from_s3_row_by_row(services: Services, place: Path) -> None:
    dumps = dump(services, place / "dumps")
    assert "push: s3://backups/postgres/" in require(copy(services, "push", dumps))
    assert "pull: s3://backups/postgres/" in require(copy(services, "pull", place / "pulled"))
    for database in ("mlflow", "optuna"):
        file = f"{database}.dump"
        assert (place / "pulled" / file).read_bytes() == (dumps / file).read_bytes()
    output = require(restore(services, place / "pulled", place / "restored"))
    assert output.startswith("restored: 3 experiments, ")
    with restored(place / "restored") as port:
        socket = {"PGHOST": str(place / "restored"), "PGPORT": str(port), "PGUSER": "drill"}
        query = ("psql", "-XAt", "-d", "mlflow", "-c", fingerprints())
        found = require(services.run(*query, **socket)).strip()
        assert found == services.ask(fingerprints())
        client = MlflowClient(f"postgresql://drill@127.0.0.1:{port}/mlflow")
        champion = client.get_model_version_by_alias(MODEL, "champion")
        assert champion.tags["model"] == services.ask(
            "SELECT t.value FROM model_version_tags t JOIN registered_model_aliases a "
            "USING (name, version) WHERE a.alias = 'champion' AND t.key = 'model'"
        )


def test_the_newest_copy_is_taken_and_an_old_one_fails(services: Services, place: Path) -> None:
    now, dumps = datetime.now(UTC), dump(services, place / "dumps")
    assert "holds no complete copy" in copy(services, "pull", place / "none").stderr
    push_as_of(services, dumps, now - timedelta(hours=31))
    old = copy(services, "pull", place / "old")
    assert (old.returncode, "the newest copy is of" in old.stderr) == (1, True)
    name = push_as_of(services, dumps, now)
    later = (now + timedelta(minutes=1)).strftime(copies.STAMP)
    s3 = services.storage.client(services.secret("s3-backup"))
    s3.put_object(Bucket="backups", Key=f"postgres/{later}/mlflow.dump", Body=b"no manifest yet")
    assert f"pull: s3://backups/{name}" in require(copy(services, "pull", place / "new"))


@pytest.mark.row("N15")
def test_a_dump_that_was_damaged_on_s3_fails(services: Services, place: Path) -> None:
    name = push_as_of(services, dump(services, place / "dumps"), datetime.now(UTC))
    s3 = services.storage.client(services.secret("s3-backup"))
    content = s3.get_object(Bucket="backups", Key=f"{name}mlflow.dump")["Body"].read()
    s3.put_object(Bucket="backups", Key=f"{name}mlflow.dump", Body=content[:-1] + b"?")
    done = copy(services, "pull", place / "pulled")
    assert (done.returncode, "came back with other bytes" in done.stderr) == (1, True)


def test_a_dump_that_was_cut_does_not_restore(services: Services, place: Path) -> None:
    dumps = dump(services, place / "dumps")
    whole = (dumps / "mlflow.dump").read_bytes()
    (dumps / "mlflow.dump").write_bytes(whole[: len(whole) // 2])
    assert restore(services, dumps, place / "restored").returncode != 0


def test_an_alias_that_points_to_nothing_fails(services: Services, place: Path) -> None:
    row = f"'{MODEL}', 'astray', 999"
    services.ask(f"INSERT INTO registered_model_aliases (name, alias, version) VALUES ({row})")
    try:
        dumps = dump(services, place / "dumps")
    finally:
        services.ask("DELETE FROM registered_model_aliases WHERE alias = 'astray'")
    done = restore(services, dumps, place / "restored")
    assert (done.returncode, "1 aliases point to versions" in done.stderr) == (1, True)
