"""Checks of this machine and this checkout. They change nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from components import train
from components.core.data.decoding import DataParams
from components.core.errors import InvalidParams, PipelineError, ServiceUnavailable
from components.io import params
from components.tracking import server
from pipeline.doctor import tracking
from pipeline.doctor.finding import Check, CheckResult
from pipeline.kubeflow import git_state as source

SETTINGS = Path("params.yaml")
LOCK = Path("requirements.lock")
IMAGES = Path("data/images")

_PYTHON = (3, 11)
_GIB = 1 << 30
_FOLDERS = ("artifacts", "data", ".dvc")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class _Data:
    data: DataParams


def checks(check_params: Callable[[], None]) -> dict[str, Check]:
    """Name -> check, in the order of the table."""
    return {
        "python": python,
        "packages": packages,
        "git": git,
        "params": lambda: settings(check_params),
        "data": data,
        "disk": disk,
        "folders": folders,
        "device": device,
        "threads": threads,
        "mlflow": mlflow,
    }


def python() -> CheckResult:
    """Whether the interpreter is new enough."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _PYTHON:
        wanted = ".".join(map(str, _PYTHON))
        return CheckResult(
            "fail", f"{found}; {wanted} is needed", f"make PYTHON=python{wanted} install"
        )
    return CheckResult("ok", found)


def packages() -> CheckResult:
    """Whether the installed packages are those of the lock."""
    if not LOCK.is_file():
        return CheckResult("skip", f"{LOCK}: does not exist", "run in the project's root folder")
    wanted = _locked(LOCK.read_text())
    found = {name: _installed(name) for name in wanted}
    other = [
        f"{name} {version} (locked: {' or '.join(wanted[name])})"
        for name, version in found.items()
        if version and version not in wanted[name]
    ]
    if other:
        return CheckResult("fail", _some(other), "make install")
    absent = [name for name, version in found.items() if not version]
    present = len(found) - len(absent)
    return CheckResult("ok", f"{present} as in {LOCK}, {len(absent)} of it not installed (extras)")


def _locked(text: str) -> dict[str, list[str]]:
    """Package -> versions: one lock serves all systems, and may hold a version for each."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^\s;]+)", text, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


def _installed(name: str) -> str:
    try:
        # `2.15.0+cpu` is the locked 2.15.0, built for CPUs.
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if names[_SHOWN:] else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def git() -> CheckResult:
    """Which commit this is, and whether files differ from it."""
    try:
        return CheckResult("ok", f"{source.require_committed()[:12]}, no changes")
    except PipelineError as error:
        return CheckResult("warn", str(error))


def settings(check_params: Callable[[], None]) -> CheckResult:
    """Whether params.yaml is right."""
    try:
        check_params()
    except PipelineError as error:
        return CheckResult("fail", str(error))
    return CheckResult("ok", f"{SETTINGS} is valid")


def data() -> CheckResult:
    """Whether the images are there, as many and as large as DVC recorded them."""
    if not IMAGES.is_dir():
        then = "dvc pull, or `python -m pipeline sample-data`"
        return CheckResult("fail", f"{IMAGES}: does not exist", then)
    files = [path for path in IMAGES.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    found = f"{len(files):,} files, {size:,} bytes"
    try:
        recorded = params.read_yaml(source.POINTER)["outs"][0]
        data_hash = source.require_data()
    except (PipelineError, LookupError, TypeError) as error:
        return CheckResult("warn", f"{found}; {error}")
    if (recorded.get("nfiles"), recorded.get("size")) != (len(files), size):
        wanted = f"{recorded.get('nfiles', 0):,} files, {recorded.get('size', 0):,} bytes"
        return CheckResult("warn", f"{found}; {source.POINTER} has {wanted}", "dvc add data/images")
    return CheckResult("ok", f"{found}, as {data_hash[:12]} in {source.POINTER}")


def disk() -> CheckResult:
    """Whether the decoded pixels find room."""
    wanted = params.load(SETTINGS, _Data).data.cache_gib
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    found = f"{free:.1f} GiB free; data.cache_gib is {wanted:g}"
    if free < 1:
        return CheckResult("fail", found, "make room for at least 1 GiB")
    if free < wanted:
        return CheckResult("warn", found, "make room, or pixels are decoded again for each epoch")
    return CheckResult("ok", found)


def folders() -> CheckResult:
    """Whether the folders that are written to let us: by writing."""
    for name in _FOLDERS:
        folder = Path(name)
        place = folder if folder.exists() else folder.parent
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            return CheckResult("fail", f"{place}: {error.strerror}", "make it a folder of yours")
    return CheckResult("ok", f"{', '.join(_FOLDERS)}: may be written")


def device() -> CheckResult:
    """What trains, and in which number format."""
    from components.core.training import inference
    from components.io import process as machine

    wanted = params.load(SETTINGS, train.Params)
    try:
        name = inference.resolve_device(wanted.training.device)
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    architecture = wanted.model.architecture
    precision = inference.resolve_precision(wanted.training.precision, name, architecture)
    facts = machine.hardware_facts(name)
    return CheckResult("ok", f"{facts['device']}, {precision}, torch {facts['torch']}")


def threads() -> CheckResult:
    """Whether torch would start more threads than there are CPUs for this process."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and cpus and int(wanted) > cpus:
        found = f"OMP_NUM_THREADS is {wanted}, on {cpus} CPUs"
        return CheckResult("warn", found, f"unset it, or set it to {cpus} or less")
    return CheckResult("ok", f"{wanted or cpus} on {cpus} CPUs")


def mlflow() -> CheckResult:
    """Whether MLflow's store can be used, and is no version with a published fault."""
    try:
        uri = server.tracking_uri()
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    if server.is_server(uri):
        return tracking.judge(uri)
    file = server.sqlite_file(uri)
    if file and not file.exists():
        return CheckResult("ok", f"{file}: made by the first run")
    try:
        server.require_reachable(uri)
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        return CheckResult("fail", str(error))
    found = f"{server.without_credentials(uri)}, by mlflow {metadata.version('mlflow')}"
    return tracking.compare(found, metadata.version("mlflow"), "make install")
