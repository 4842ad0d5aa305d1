"""An engine, the project's image, and the services that a run needs, all ended with the tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import DOCKER, ROOT, SCRIPTS, UID, Engine, Image, Pod

BASE = "local/python:3.11"
S3 = "http://127.0.0.1:8333"
TRACKING = "http://127.0.0.1:5000"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test-key",
    "AWS_SECRET_ACCESS_KEY": "test-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    # no question to a cloud's own address for keys
    "AWS_EC2_METADATA_DISABLED": "true",
}

MAKE_BUCKETS = f"""
import boto3, time
s3 = boto3.client("s3", endpoint_url="{S3}")
for attempt in range(120):
    try:
        for name in ("dvc", "mlflow"):
            s3.create_bucket(Bucket=name)
        break
    except Exception as error:
        print(error)
        time.sleep(0.5)
else:
    raise SystemExit("S3 does not answer")
"""

AWAIT_TRACKING = f"""
import time, urllib.request
for attempt in range(360):
    try:
        urllib.request.urlopen("{TRACKING}/health", timeout=5)
        break
    except OSError as error:
        time.sleep(0.5)
else:
    raise SystemExit("MLflow does not answer")
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine of our own; one started by hand in the folder ENGINE is used and stays."""
    if given := os.environ.get("ENGINE"):
        yield Engine(f"unix://{given}/docker.sock")
        return
    if not Path(DOCKER).is_file():
        pytest.fail("the container engine is missing; run infra/install_docker.sh")
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    script = ["sh", str(SCRIPTS / "engine.sh")]
    try:
        subprocess.run([*script, "start", str(folder)], check=True)
        yield Engine(f"unix://{folder}/docker.sock")
    finally:
        subprocess.run([*script, "stop", str(folder)], check=True)


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with the locked torch, on a base made here."""
    if not engine.docker("images", "--quiet", BASE).strip():
        engine.script("make_base.sh", BASE)
    folder = tmp_path_factory.mktemp("sbom")
    engine.script("build_image.sh", "cuda", "pipeline:test", folder, BASE_IMAGE=BASE)
    return Image(engine, "pipeline:test", folder / "cuda.cdx.json")


@pytest.fixture(scope="session")
def pod(image: Image) -> Iterator[Pod]:
    """S3 and MLflow, both in the project's image, where nothing else can be reached."""
    folder = Path(tempfile.mkdtemp(prefix="services-"))
    pod = Pod(image, folder, {**KEYS, "MLFLOW_TRACKING_URI": TRACKING, "OMP_NUM_THREADS": "1"})
    for name in ("s3", "mlflow"):
        (folder / name).mkdir()
        os.chown(folder / name, UID, UID)
    try:
        # It holds the network, as a pod's first container does.
        image.engine.docker(
            "run", "--detach", "--name", pod.name, "--network", "none", "--user", UID, image.name,
            "python", "-c", "import signal; signal.pause()",
        )  # fmt: skip
        start_storage(pod)
        start_tracking(pod)
        yield pod
    finally:
        pod.stop()
        shutil.rmtree(folder)


def start_storage(pod: Pod) -> None:
    program = (ROOT / ".tools/bin/weed").resolve()
    settings = pod.folder / "s3.json"
    settings.write_text(
        '{"identities": [{"name": "test", "actions": ["Admin", "Read", "List", "Write"],'
        ' "credentials": [{"accessKey": "test-key", "secretKey": "test-secret"}]}]}'
    )
    pod.start(
        "s3", "/weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-dir=/s3", "-master.telemetry=false", "-filer", "-s3", "-s3.port=8333",
        "-s3.config=/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64", "-volume.max=50",
        options=("-v", f"{program}:/weed:ro", "-v", f"{settings}:/s3.json:ro",
                 "-v", f"{pod.folder}/s3:/s3"),
    )  # fmt: skip
    pod.run("python", "-c", MAKE_BUCKETS)


def start_tracking(pod: Pod) -> None:
    pod.start(
        "mlflow", "python", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "5000",
        "--workers", "1", "--backend-store-uri", "sqlite:////mlflow/mlflow.db",
        "--artifacts-destination", "s3://mlflow/artifacts", "--serve-artifacts",
        options=("-v", f"{pod.folder}/mlflow:/mlflow", "--env", f"MLFLOW_S3_ENDPOINT_URL={S3}",
                 "--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"),
    )  # fmt: skip
    pod.run("python", "-c", AWAIT_TRACKING)
