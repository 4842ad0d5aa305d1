"""Start MLflow from mounted secrets: no secret is in a command line or a manifest.

python start.py migrate     bring the tables of MLflow and of its users up to date
python start.py wait        return when the tables are there
python start.py serve       become the server
python start.py ready       whether the server and its database answer

Secrets are FOLDER/<secret>/<key>, with FOLDER in SECRETS.
"""

import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

WAIT_SECONDS = 300
READY_SECONDS = 3
PASSWORD_SECONDS = 60  # so long the other worker may still take a password that was changed
TABLES = ("alembic_version", "alembic_version_auth")


def secret(name: str) -> str:
    """The value of <secret>/<key>."""
    return (Path(os.environ["SECRETS"]) / name).read_text().strip()


def database(options: str = "") -> str:
    """The URI of MLflow's database; the server's certificate is verified."""
    password = quote(secret("postgres-mlflow/password"), safe="")
    where = f"{os.environ['PGHOST']}:{os.environ.get('PGPORT', '5432')}/mlflow"
    mode = os.environ.get("PGSSLMODE", "verify-full")
    tls = f"sslmode={mode}&sslrootcert={quote(os.environ['PGSSLROOTCERT'], safe='')}"
    return f"postgresql://mlflow:{password}@{where}?{tls}{options}"


def migrate() -> None:
    """Create or upgrade all tables. Takes as long as it takes: the role's time limit is lifted."""
    os.environ.pop("MLFLOW_AUTH_CONFIG_PATH", None)  # read on import; only `serve` writes it
    from mlflow.server.auth.db import utils as users
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import create_engine

    uri = database("&options=-c%20statement_timeout%3D0")
    _require_utf8(uri)
    os.environ["MLFLOW_TRACKING_URI"] = uri
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
    if _has_tables(uri, TABLES[:1]):
        _run(command)
    else:
        # The default experiment's artifacts go through the server, like all others.
        SqlAlchemyStore(uri, "mlflow-artifacts:/")  # type: ignore[no-untyped-call]
    engine = create_engine(uri)
    users.migrate(engine, "head")
    engine.dispose()


def wait() -> None:
    """Return when the migration is done; raise after five minutes."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not _has_tables(database(), TABLES):
        if time.monotonic() > deadline:
            raise SystemExit("error: the job mlflow-migrate has not made the tables; see its log")
        time.sleep(2)


def serve() -> None:
    """Replace this process by the server."""
    uri = database()
    config = Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"])
    config.touch(mode=0o600)
    escaped = uri.replace("%", "%%")  # for configparser
    config.write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {escaped}\n"
        f"admin_username = {secret('mlflow-admin/username')}\n"
        # Each check of a password costs 0.1 s of CPU; one register sends 100 requests.
        f"auth_cache_ttl_seconds = {PASSWORD_SECONDS}\n"
    )
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_AUTH_ADMIN_PASSWORD": secret("mlflow-admin/password"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("mlflow-session/key"),
        "AWS_ACCESS_KEY_ID": secret("s3-mlflow/access-key"),
        "AWS_SECRET_ACCESS_KEY": secret("s3-mlflow/secret-key"),
    }
    host = os.environ.get("MLFLOW_HOST", "0.0.0.0")  # noqa: S104
    arguments = ["--app-name", "basic-auth", "--host", host]
    arguments += ["--port", os.environ.get("PORT", "5000"), "--serve-artifacts", "--workers", "2"]
    arguments += ["--x-frame-options", "DENY"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *arguments])  # noqa: S606


def ready() -> None:
    """Return when requests can be served: /health alone says nothing about the database."""
    import http.client

    import psycopg

    port = os.environ.get("PORT", "5000")
    server = http.client.HTTPConnection("127.0.0.1", int(port), timeout=READY_SECONDS)
    server.request("GET", "/health")
    if server.getresponse().status != http.client.OK:
        raise SystemExit("MLflow's /health does not say that it is well")
    with psycopg.connect(database(f"&connect_timeout={READY_SECONDS}")) as connection:
        connection.execute("SELECT 1")


def _has_tables(uri: str, tables: tuple[str, ...]) -> bool:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import OperationalError

    engine = create_engine(uri)
    try:
        return set(tables) <= set(inspect(engine).get_table_names())
    except OperationalError as error:
        print(f"PostgreSQL does not answer yet: {type(error).__name__}", file=sys.stderr)
        return False
    finally:
        engine.dispose()


def _require_utf8(uri: str) -> None:
    """What an image without a UTF-8 locale makes by default ends MLflow with a riddle."""
    from sqlalchemy import create_engine, text

    engine = create_engine(f"{uri}&client_encoding=utf8")
    with engine.connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    engine.dispose()
    if encoding != "UTF8":
        raise SystemExit(
            f"error: PostgreSQL's database mlflow has the encoding {encoding}; MLflow needs UTF8. "
            "If there is nothing in it yet, delete the pod and the claim of postgres: initdb makes "
            "it anew. Else dump it, create it with ENCODING 'UTF8' TEMPLATE template0, restore."
        )


def _run(command: list[str]) -> None:
    import subprocess

    subprocess.run(command, check=True)  # noqa: S603


if __name__ == "__main__":
    {"migrate": migrate, "wait": wait, "serve": serve, "ready": ready}[sys.argv[1]]()
