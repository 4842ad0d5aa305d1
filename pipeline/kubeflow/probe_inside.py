"""What a pod of `doctor --probe` finds: a line of JSON for each question; it changes nothing.

python -m pipeline.kubeflow.probe_inside STEP JSON     (of a `Question`)
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from components.core.errors import PipelineError, ServiceUnavailable
from components.core.phrases import count, short_digest
from components.tune import storage
from pipeline.deadline import call_with_timeout
from pipeline.kubeflow import fetch, remote_images, workspace

_SECONDS = 60.0
_GIB = 1 << 30
_SHM = "/dev/shm"  # noqa: S108

# Variables that come from secrets; the last may hold a password among other things.
_SECRET = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "GIT_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    storage.VARIABLE,
)


@dataclass(frozen=True)
class Question:
    """What a pod is asked about.

    Attributes:
        workspace: folder of the run.
        repository: URL that git understands.
        revision: full git commit.
        data_hash: DVC's hash of data/images.
        hosts: names that DNS must know.
        gpus: of the step; 0 = none.
        shared_memory_gib: least size of /dev/shm; 0 = any.
    """

    workspace: str
    repository: str
    revision: str
    data_hash: str
    hosts: tuple[str, ...]
    gpus: int = 0
    shared_memory_gib: float = 0.0


def _project(question: Question) -> Path:
    """The checkout of the run; elsewhere if its volume is at fault, which is said once."""
    own = Path(question.workspace) / "checkout"
    return own if own.is_dir() else Path(tempfile.gettempdir()) / "probe-checkout"


def dns(question: Question) -> str:
    """Names become addresses."""
    for host in question.hosts:
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise ServiceUnavailable(
                f"{host}: {error.strerror or error}; correct the name, or let the pods of the "
                "namespace reach the cluster's DNS."
            ) from error
    return f"knows {', '.join(question.hosts) or 'no name, for none is used'}"


def volume(question: Question) -> str:
    """The run's folder can be made and written to."""
    run = Path(question.workspace)
    workspace.make_folder(run / "checkout")
    workspace.note_start(run)  # so that a later run deletes what this one had to leave
    file = run / "checkout/probe"
    file.write_bytes(b"0" * (1 << 20))
    file.unlink()
    return f"{run}: writable, {shutil.disk_usage(run).free / _GIB:.0f} GiB free"


def git(question: Question) -> str:
    """The repository hands out the commit."""
    fetch.check_out(_project(question), question.repository, question.revision)
    return f"{question.repository} has {short_digest(question.revision)}"


def data(question: Question) -> str:
    """The remote has all images, with the keys of fetch."""
    os.chdir(_project(question))
    try:
        remote_images.require(question.data_hash, _SECONDS)
    finally:
        os.chdir("/")
    return f"the remote has all of {short_digest(question.data_hash)}"


def mlflow(question: Question) -> str:  # noqa: ARG001 - as the others
    """MLflow takes name and password of this step."""
    uri, user = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_TRACKING_USERNAME"]
    pair = f"{user}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    address = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    request = urllib.request.Request(address)  # noqa: S310 - http(s), by ClusterParams
    request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        urllib.request.urlopen(request, timeout=_SECONDS / 2).close()  # noqa: S310
    except HTTPError as error:
        kind = ServiceUnavailable if error.code >= 500 else PipelineError
        raise kind(
            f"{uri}: HTTP {error.code} for the user {user}; the secret must hold the password that "
            "mlflow-bootstrap gave it."
        ) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"{uri}: {getattr(error, 'reason', error)}; is cluster.tracking_uri right, and may "
            "pods of this step reach it?"
        ) from error
    return f"{uri} takes the password of {user}"


def postgres(question: Question) -> str:  # noqa: ARG001 - as the others
    """The database of the study takes its URI, over TLS."""
    from sqlalchemy import create_engine, exc, make_url, text

    url = make_url(os.environ[storage.VARIABLE])
    engine = create_engine(url, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            encrypted = connection.execute(text(query)).scalar()
    except exc.SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ServiceUnavailable(
            f"{url.render_as_string()}: {reason}; compare cluster.optuna_secret and "
            "cluster.ca_secret with infra/scripts/make_secrets.sh."
        ) from error
    if not encrypted:
        raise PipelineError(
            f"{url.render_as_string()}: is not over TLS; add sslmode=verify-full to the URI."
        )
    return f"{url.render_as_string()} over TLS"


def gpu(question: Question) -> str:
    """As many GPUs as the step asks for, and each can multiply."""
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found != question.gpus:
        raise PipelineError(
            f"torch {torch.__version__} sees {count(found, 'GPU')}, not {question.gpus}; "
            "kubectl apply -k infra/kustomize/gpu-check shows it alone."
        )
    for number in range(found):
        ones = torch.ones(4, 4, device=f"cuda:{number}")
        assert ones.matmul(ones).sum().item() == 64, "cannot multiply"
    return f"{count(found, 'GPU')}: {torch.cuda.get_device_name()}"


def shm(question: Question) -> str:
    """The shared memory, through which batches travel, has its size."""
    place = os.statvfs(_SHM)
    found = place.f_bsize * place.f_blocks / _GIB
    if found < question.shared_memory_gib:
        raise PipelineError(
            f"{_SHM}: has {found:.2f} GiB, not {question.shared_memory_gib:g}; does a policy of "
            "the cluster forbid an emptyDir in memory?"
        )
    return f"{_SHM} has {found:.1f} GiB"


_Check = Callable[[Question], str]


def checks(step: str, question: Question, environment: Mapping[str, str]) -> dict[str, _Check]:
    """Name -> check of what this step uses.

    Args:
        step: fetch, tune, train or register.
        question: what is asked.
        environment: of the pod; a study in a file needs no database.
    """
    if step == "fetch":
        return {"dns": dns, "volume": volume, "git": git, "data": data}
    found: dict[str, _Check] = {"mlflow": mlflow}
    if storage.VARIABLE in environment:
        found["postgres"] = postgres
    if question.gpus:
        found["gpu"] = gpu
    if question.shared_memory_gib:
        found["shm"] = shm
    return found


def answer(name: str, check: _Check, question: Question) -> dict[str, Any]:
    """What a check found: `check`, `status`, `found`, `service`; no secret is in it."""
    status, service = "fail", False
    try:
        found, status = call_with_timeout(_SECONDS, lambda: check(question)), "pass"
    except TimeoutError:
        found, service = f"no answer in {_SECONDS:.0f} s; does a network policy hold it up?", True
    except PipelineError as error:
        found, service = str(error), isinstance(error, ServiceUnavailable)
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        found = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"check": name, "status": status, "found": _without_secrets(found), "service": service}


def _without_secrets(text: str) -> str:
    values = [os.environ.get(name, "") for name in _SECRET]
    values.append(urlsplit(os.environ.get(storage.VARIABLE, "")).password or "")
    for value in filter(None, values):
        text = text.replace(value, "***")
    return text


def main(step: str, text: str) -> None:
    """Print an answer for each check; what the run's folder holds is deleted.

    Args:
        step: fetch, tune, train or register.
        text: the fields of a `Question`, as JSON.
    """
    question = Question(**json.loads(text))
    try:
        for name, check in checks(step, question, os.environ).items():
            print(json.dumps(answer(name, check, question)), flush=True)
    finally:
        if step == "fetch":
            shutil.rmtree(_project(question), ignore_errors=True)
            shutil.rmtree(question.workspace, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
