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
from components.core.phrases import count, listing, short_digest
from components.io import params
from components.io.data.cpus import usable_cpus
from components.io.data.links import foreign_links, missing_objects
from components.io.data.scan import list_files, printable
from components.tracking import database, server
from pipeline import IMAGES, SETTINGS
from pipeline.doctor import tracking
from pipeline.doctor.check import Check, CheckResult
from pipeline.kubeflow import git_state

LOCK = Path("requirements.lock")

_MIN_PYTHON = (3, 11)
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
        "links": links,
        "disk": disk,
        "folders": folders,
        "device": device,
        "threads": num_threads,
        "mlflow": mlflow,
    }


def python() -> CheckResult:
    """Whether the interpreter is new enough."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _MIN_PYTHON:
        required = ".".join(map(str, _MIN_PYTHON))
        return CheckResult(
            "fail", f"{found}; {required} is needed", f"make PYTHON=python{required} install"
        )
    return CheckResult("pass", found)


def packages() -> CheckResult:
    """Whether the installed packages are those of the lock."""
    if not LOCK.is_file():
        return CheckResult("skipped", f"{LOCK}: does not exist", "restore it from git")
    locked = _locked(LOCK.read_text())
    found = {name: _installed(name) for name in locked}
    different = [
        f"{name} {version} (locked: {' or '.join(locked[name])})"
        for name, version in found.items()
        if version and version not in locked[name]
    ]
    if different:
        return CheckResult("fail", listing(different, _SHOWN), "make install")
    absent = [name for name, version in found.items() if not version]
    present = len(found) - len(absent)
    return CheckResult("pass", f"{present} as in {LOCK}, {len(absent)} not installed (extras)")


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


def git() -> CheckResult:
    """Which commit this is, and whether files differ from it."""
    try:
        revision = short_digest(git_state.require_committed())
    except PipelineError as error:
        return CheckResult("warn", str(error))
    if git_state.dvc_ignores_git():
        found = (
            f"{revision}, but core.no_scm of DVC is set: `dvc exp` and `dvc metrics diff` refuse"
        )
        return CheckResult("warn", found, "dvc config --local --unset core.no_scm")
    return CheckResult("pass", f"{revision}, no changes")


def settings(check_params: Callable[[], None]) -> CheckResult:
    """Whether params.yaml is valid."""
    try:
        check_params()
    except PipelineError as error:
        return CheckResult("fail", str(error))
    return CheckResult("pass", f"{SETTINGS} is valid")


def data() -> CheckResult:
    """Whether the images are there, as many and as large as DVC recorded them."""
    if not IMAGES.is_dir():
        hint = "dvc pull, or `python -m pipeline sample-data`"
        return CheckResult("fail", f"{IMAGES}: does not exist", hint)
    listed = list_files(IMAGES)  # without what DVC ignores, too
    paths = {printable(path.relative_to(IMAGES).as_posix()): path for path in IMAGES.rglob("*")}
    files = [path for shown, path in paths.items() if shown in listed and path.is_file()]
    size = sum(path.stat().st_size for path in files)
    found = f"{len(files):,} files, {size:,} bytes"
    try:
        recorded = params.read_yaml(git_state.POINTER)["outs"][0]
        data_hash = git_state.require_data()
    except (PipelineError, LookupError, TypeError) as error:
        return CheckResult("warn", f"{found}; {error}")
    if (recorded.get("nfiles"), recorded.get("size")) != (len(files), size):
        expected = f"{recorded.get('nfiles', 0):,} files, {recorded.get('size', 0):,} bytes"
        return CheckResult(
            "warn", f"{found}; {git_state.POINTER} has {expected}", "dvc add data/images"
        )
    return CheckResult("pass", f"{found}, as {short_digest(data_hash)} in {git_state.POINTER}")


def links() -> CheckResult:
    """Whether all symbolic links below the images are DVC's own, and lead somewhere."""
    if foreign := foreign_links(IMAGES):
        shown = listing([printable(f"{path} -> {target}") for path, target in foreign], _SHOWN)
        return CheckResult(
            "fail",
            f"{IMAGES}: {count(len(foreign), 'symbolic link')}: {shown}",
            "copy in what they lead to, or delete them: `dvc add` stores what a link leads to, "
            "and `dvc push` sends it away",
        )
    if missing := missing_objects(IMAGES):
        shown = listing([printable(path) for path in missing], _SHOWN)
        return CheckResult(
            "fail",
            f"{IMAGES}: cache.type is symlink, and {count(len(missing), 'link')} of DVC lead to "
            f"objects that are not in its cache: {shown}",
            "dvc checkout; if that does not help, dvc pull",
        )
    return CheckResult("pass", f"{IMAGES}: none but those of DVC")


def disk() -> CheckResult:
    """Whether there is room for the decoded pixels."""
    limit = params.load(SETTINGS, _Data).data.cache_gib
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    found = f"{free:.1f} GiB free; data.cache_gib is {limit:g}"
    if free < 1:
        return CheckResult("fail", found, "free at least 1 GiB")
    if free < limit:
        return CheckResult("warn", found, "free some, or pixels are decoded again for each epoch")
    return CheckResult("pass", found)


def folders() -> CheckResult:
    """Whether the folders that are written to are writable: by writing."""
    for name in _FOLDERS:
        folder = Path(name)
        place = folder if folder.exists() else folder.parent
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            return CheckResult("fail", f"{place}: {error.strerror}", "make it writable")
    return CheckResult("pass", f"{', '.join(_FOLDERS)}: writable")


def device() -> CheckResult:
    """Which device trains, and in which precision."""
    from components.core.training import inference
    from components.io import process

    loaded = params.load(SETTINGS, train.Params)
    try:
        name = inference.resolve_device(loaded.training.device)
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    architecture = loaded.model.architecture
    precision = inference.resolve_precision(loaded.training.precision, name, architecture)
    facts = process.hardware_facts(name)
    return CheckResult("pass", f"{facts['device']}, {precision}, torch {facts['torch']}")


def num_threads() -> CheckResult:
    """Whether torch would start more threads than there are CPUs for this process."""
    cpus = usable_cpus()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > cpus:
        found = f"OMP_NUM_THREADS is {threads}, on {cpus} CPUs"
        return CheckResult("warn", found, f"unset it, or set it to {cpus} or less")
    return CheckResult("pass", f"{threads or cpus} on {cpus} CPUs")


def mlflow() -> CheckResult:
    """Whether MLflow's store can be used, and is no version with a published fault."""
    try:
        uri = server.tracking_uri()
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    if server.is_server(uri):
        return tracking.check_version(uri)
    file = server.sqlite_file(uri)
    if file and not (file.exists() and file.stat().st_size):
        return CheckResult("pass", f"{file}: the first run makes it")
    try:
        server.require_reachable(uri)
        problem = database.schema_problem(file) if file else ""
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        return CheckResult("fail", str(error))
    if file and database.is_half_made(file):
        found = f"{file}: half made when it was interrupted; the next run makes it again"
        return CheckResult("warn", found)
    if problem:
        hint = f"make install; or copy the file, then mlflow db upgrade {uri}"
        return CheckResult("fail", f"{file}: {problem}", hint)
    found = f"{server.without_credentials(uri)}, by mlflow {metadata.version('mlflow')}"
    return tracking.compare_versions(found, metadata.version("mlflow"), "make install")
