"""Who may do what: MLflow's users, the roles of PostgreSQL, the identities of S3."""

import base64
import http.client
import re
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.services.overlay import BASE, MODEL, Services, require

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


@pytest.mark.row("I09", "I10")
def test_only_the_promoter_may_move_the_alias(services: Services) -> None:
    version = {"name": MODEL, "source": "models:/m-" + "0" * 32}
    alias = {"name": MODEL, "alias": "champion", "version": "999"}
    assert services.call("model-versions/create", version, "trainer") == 403
    assert services.call(f"registered-models/get?name={MODEL}", {}, "trainer", "GET") == 403
    assert services.call("registered-models/alias", alias, "anonymous") == 401
    assert services.call("registered-models/alias", alias, "trainer") == 403
    # past the authorization: there is no such version
    assert services.call("registered-models/alias", alias, "promoter") == 404
    foreign = version | {"source": "s3://elsewhere/model"}
    assert services.call("model-versions/create", foreign, "promoter") == 400


def routes() -> list[tuple[str, str]]:
    """Method and path of all that MLflow's server answers to, parameters filled in."""
    from mlflow.server.handlers import get_endpoints

    found = {
        (method, re.sub(r"<[^>]*>", "1", path))
        for path, _, methods in get_endpoints()  # type: ignore[no-untyped-call]
        for method in methods
    }
    return sorted(found)


@pytest.mark.row("I09")
def test_no_route_answers_whoever_does_not_say_who_they_are(services: Services) -> None:
    assert len(routes()) > 100
    answered = [
        f"{method} {path}: {status}"
        for method, path in routes()
        if (status := _status(services, method, path)[0]) not in (401, 403)
    ]
    # MLflow lets anybody ask which kind of store it has; nothing else.
    assert [line for line in answered if not line.endswith("/mlflow/server-info: 200")] == []
    assert [_status(services, "GET", path)[0] for path in ("/health", "/version")] == [200, 401]


_UP = ["../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
       "%252e%252e/%252e%252e/etc/passwd", "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd",
       "model%23/../../../etc/passwd", "model%3f/../../../etc/passwd", "..\\..\\etc\\passwd",
       "....//....//etc/passwd"]  # fmt: skip


@pytest.mark.row("I08")
@pytest.mark.parametrize("path", _UP)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_leads_out_of_the_artifacts(path: str, method: str, services: Services) -> None:
    places = [f"/api/2.0/mlflow-artifacts/artifacts/{path}"]
    if method == "GET":
        run = "0" * 32
        places += [
            f"/api/2.0/mlflow-artifacts/artifacts?path={path}",
            f"/get-artifact?run_uuid={run}&path={path}",
            f"/model-versions/get-artifact?name={MODEL}&version=1&path={path}",
            f"/ajax-api/2.0/mlflow/logged-models/m-{run}/artifacts/files?artifact_file_path={path}",
        ]
    for place in places:
        status, body = _status(services, method, place, "trainer")
        assert status >= 400 or b"root:" not in body, place
        assert method == "GET" or status >= 400, place
    assert (
        services.storage.client(services.secret("s3-mlflow"))
        .list_objects_v2(Bucket="mlflow", Prefix="etc")
        .get("KeyCount", 0)
        == 0
    )


def _status(services: Services, method: str, path: str, user: str = "") -> tuple[int, bytes]:
    """Status and content of a request that is sent as it stands."""
    connection = http.client.HTTPConnection(urlsplit(services.uri).netloc, timeout=60)
    headers = {"Content-Type": "application/json"}
    if user:
        password = (services.secret(f"mlflow-{user}") / "password").read_text()
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {credentials}"
    try:
        connection.request(method, path, b"{}" if method != "GET" else None, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.row("I10")
def test_the_trainer_may_log_runs_but_delete_nothing(services: Services) -> None:
    assert services.call("runs/create", {"experiment_id": "1"}, "trainer") == 200
    assert services.call("experiments/get?experiment_id=1", {}, "trainer", "GET") == 200
    assert services.call("experiments/delete", {"experiment_id": "1"}, "trainer") == 403
    assert services.call("experiments/delete", {"experiment_id": "1"}, "anonymous") == 401


@pytest.mark.row("I10")
def test_only_the_promoter_reads_and_writes_the_audit_log(services: Services) -> None:
    log = {"experiment_id": "2"}  # made by the bootstrap, after the one of the runs
    for user, status in (("trainer", 403), ("promoter", 200)):
        assert services.call("runs/create", log, user) == status
        assert services.call("experiments/get?experiment_id=2", {}, user, "GET") == status
        assert services.call("experiments/delete", log, user) == 403


def test_only_the_promoter_deletes_stored_weights_and_nobody_deletes_the_audit_log(
    services: Services,
) -> None:
    def send(method: str, path: str, user: str) -> int:
        return services.send(f"mlflow-artifacts/artifacts/{path}", method, user, {})

    weights = f"1/models/m-{'0' * 32}/artifacts"
    assert send("PUT", f"{weights}/model", "trainer") == 200
    assert send("DELETE", weights, "trainer") == 403
    assert send("GET", f"{weights}/model", "trainer") == 200
    assert send("DELETE", weights, "promoter") == 200
    assert send("GET", f"{weights}/model", "trainer") >= 400
    s3 = services.storage.client(services.secret("s3-mlflow"))
    assert not s3.list_objects_v2(Bucket="mlflow", Prefix=f"artifacts/{weights}").get("Contents")
    for user in ("trainer", "promoter"):
        for path in ("1", f"1/{'0' * 32}/artifacts"):
            assert send("DELETE", path, user) == 403
        assert services.call("runs/delete", {"run_id": "0" * 32}, user) in (403, 404)


def test_the_pruning_job_acts_as_the_promoter(services: Services) -> None:
    prune = BASE / "mlflow" / "prune.py"
    done = services.run(sys.executable, prune, "--older-than=180", "--keep=10", "--yes")
    assert require(done) == f"{MODEL}: 0.0 MB pruned\n"


@pytest.mark.row("N13")
def test_a_host_that_is_not_allowed_is_refused_but_probes_get_through(services: Services) -> None:
    def asked(path: str, host: str) -> int:
        request = urllib.request.Request(f"{services.uri}{path}", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    port = services.uri.rpartition(":")[2]
    page = "/api/2.0/mlflow/experiments/get?experiment_id=1"
    assert asked(page, "evil.example") == 403
    assert asked(page, "mlflow.image-classification.svc") == 403  # the port belongs to the name
    assert asked(page, f"mlflow.image-classification.svc:{port}") == 401  # who are you?
    assert asked("/health", "10.0.0.7:5000") == 200


def test_a_connection_without_tls_is_refused(services: Services) -> None:
    password = (services.secret("postgres-mlflow") / "password").read_text()
    plain = {"PGSSLMODE": "disable", "PGPASSWORD": password}
    done = services.run("psql", "-U", "mlflow", "-d", "mlflow", "-c", "SELECT 1", **plain)
    assert done.returncode != 0
    assert "no encryption" in done.stderr


def test_the_roles_do_not_see_one_another(services: Services) -> None:
    for role, database in (("mlflow", "optuna"), ("optuna", "mlflow"), ("backup", "postgres")):
        password = (services.secret(f"postgres-{role}") / "password").read_text()
        for place, seen in ((role if role != "backup" else "mlflow", True), (database, False)):
            query = ("psql", "-U", role, "-d", place, "-c", "SELECT 1")
            done = services.run(*query, PGPASSWORD=password)
            assert (done.returncode == 0) == seen, (role, place, done.stderr)


@pytest.mark.parametrize("name", ["mlflow", "dvc", "backup"])
def test_an_identity_of_the_storage_sees_its_own_bucket_alone(
    services: Services, name: str
) -> None:
    client = services.storage.client(services.secret(f"s3-{name}"))
    own = "backups" if name == "backup" else name
    client.put_object(Bucket=own, Key="probe", Body=b"1")
    assert client.get_object(Bucket=own, Key="probe")["Body"].read() == b"1"
    client.delete_object(Bucket=own, Key="probe")
    for bucket in {"mlflow", "dvc", "backups"} - {own}:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object(Bucket=bucket, Key="probe", Body=b"1")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_bucket(Bucket="another")


def test_a_deleted_object_can_be_brought_back(services: Services) -> None:
    client = services.storage.client(services.secret("s3-admin"))
    for bucket in ("mlflow", "dvc", "backups"):
        assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    client.put_object(Bucket="dvc", Key="kept", Body=b"1")
    client.delete_object(Bucket="dvc", Key="kept")
    found = client.list_object_versions(Bucket="dvc", Prefix="kept")
    (version,) = found["Versions"]
    old = client.get_object(Bucket="dvc", Key="kept", VersionId=version["VersionId"])
    assert old["Body"].read() == b"1"
