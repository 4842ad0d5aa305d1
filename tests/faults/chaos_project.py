"""The tiny project with an MLflow server of its own, and what must hold of both.

The server lies behind a proxy, so that requests can be hurt on their way.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import yaml

from components.io import files
from components.tracking.store import Store, open_store
from tests.faults import tiny_project
from tests.faults.proxy import Proxy
from tests.processes import free_port
from tests.registry import events, require_consistent
from tests.test_end_to_end import STEPS, Project

_MARK = "CHAOS_LANE"
_SECONDS = 600.0  # to start a server, on a machine however busy


class Server:
    """MLflow's server on SQLite, behind a proxy."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.proxy = Proxy(self._port)
        self.uri = f"http://127.0.0.1:{self.proxy.port}"

    def start(self) -> None:
        """Start it, and the proxy; `wait` returns when it answers."""
        self.proxy.listen()
        place = f"sqlite:///{self._folder}/server.db"
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port",
                   str(self._port), "--host", "127.0.0.1", "--backend-store-uri", place,
                   "--artifacts-destination", str(self._folder / "stored")]  # fmt: skip
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "server.log").read_text()[-3000:]
            time.sleep(0.2)

    def _answers(self) -> bool:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5).close()
            return True
        return False

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Lane(Project):
    """One project of its own with a server of its own; rounds follow one another in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "project")
        self.server = Server(folder)
        self.environment |= {
            _MARK: str(folder),
            "MLFLOW_TRACKING_URI": self.server.uri,
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.log = folder / "run.log"
        self._kept, self._lock = folder / "kept", dict[str, dict[str, object]]()

    def make(self) -> None:
        """Start the server and, meanwhile, write the project."""
        self.server.start()
        tiny_project.make(self.root)
        self.run("git", "init", "-q")
        self.run("dvc", "add", "-q", "data/images")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "data and code")
        self.server.wait()

    def end(self) -> None:
        """Stop the server."""
        self.server.kill()
        self.server.proxy.close()

    def keep(self) -> None:
        """Keep what the run has left: `begin` sets the project back to it."""
        shutil.copytree(self.root / "artifacts", self._kept)
        self._lock = yaml.safe_load((self.root / "dvc.lock").read_text())

    def begin(self, title: str, done: int) -> None:
        """Set the project back: the first `done` steps have run, for another model.

        Their results are those that were kept, as they stand in dvc.lock: some hold times, and DVC
        would run a step again whose results differ.

        Args:
            title: of the round; names the model and the experiment.
            done: number of steps whose results stay.
        """
        tiny_project.write_settings(self.root, title)
        self.environment["MLFLOW_EXPERIMENT_NAME"] = title
        shutil.rmtree(self.root / "artifacts", ignore_errors=True)
        # DVC would take results from there instead of running the step.
        shutil.rmtree(self.root / ".dvc/cache/runs", ignore_errors=True)
        for step in STEPS[:done]:
            shutil.copytree(self._kept / step, self.root / "artifacts" / step)
        if self._lock:
            kept = {step: self._lock["stages"][step] for step in STEPS[:done]}
            (self.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": kept}))

    def start(self) -> "subprocess.Popen[bytes]":
        """`dvc repro` in a process group of its own; it writes to `log`."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                ["dvc", "repro"], cwd=self.root, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def processes(self) -> list[tuple[int, str]]:
        """Number and command of all that this lane started and that still runs."""
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdecimal() or place.name == str(os.getpid()):
                continue
            with suppress(OSError):
                if f"{_MARK}={self.environment[_MARK]}".encode() in (
                    (place / "environ").read_bytes().split(b"\0")
                ):
                    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append((int(place.name), command))
        return [entry for entry in found if entry[1]]

    def stage(self, step: str) -> int | None:
        """The process of a step, if it runs; not the shell that DVC starts it by."""
        end = f"-m pipeline step {step} "
        ours = (n for n, command in self.processes() if command.endswith(end))
        return next(ours, None)

    def weights(self) -> str:
        """The digest of the trained weights."""
        return files.digest_file(self.root / "artifacts/train/model/weights.safetensors")

    def problems(self, weights: str, done: int) -> list[str]:
        """What is not as after an unbroken run; empty = nothing.

        Args:
            weights: digest of those that an unbroken run trains.
            done: steps that had run before the round began.
        """
        found = [f"still runs: {command}" for _, command in self.processes()]
        found += [f"locked: {path}" for path in self._locked()]
        if self.weights() != weights:
            found.append("other weights")
        name = self.environment["MLFLOW_EXPERIMENT_NAME"]
        os.environ |= {"MLFLOW_TRACKING_URI": self.server.uri, "MLFLOW_EXPERIMENT_NAME": name}
        with open_store() as store:
            found += _registry_problems(store, name) + _run_problems(store, done)
        return found

    def _locked(self) -> list[Path]:
        """Locks that somebody holds, or that were left behind."""
        left = [*(self.root / "artifacts").rglob("study.journal.lock")]
        rwlock = self.root / ".dvc/tmp/rwlock"  # what a dead process left, the next one takes
        text = rwlock.read_text() if rwlock.exists() else ""
        if any(Path(f"/proc/{owner}").exists() for owner in re.findall(r'"pid": *(\d+)', text)):
            left.append(rwlock)
        for path in (self.root / "artifacts").rglob(".*.lock"):
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    left.append(path)
        return left


def _registry_problems(store: Store, name: str) -> list[str]:
    try:
        promotions = require_consistent(store, name)
    except AssertionError as error:
        return [f"registry: {error}"]
    versions = store.client.search_model_versions(f"name='{name}'")
    aliases = {k: str(v) for k, v in store.client.get_registered_model(name).aliases.items()}
    (number,) = {str(version.version) for version in versions} or {""}
    found = [] if len(versions) == len(promotions) == 1 else [f"{len(versions)} versions"]
    if aliases != {"candidate": number, "champion": number}:
        found.append(f"aliases {aliases}")
    actions = [action for action, _ in events(store, name)]
    if actions != ["evaluated", "promotion_started", "promotion_completed"]:
        found.append(f"audit log {actions}")
    return found


def _run_problems(store: Store, done: int) -> list[str]:
    """Runs that did not end, and curves with a hole or a double point."""
    found = []
    for run in store.client.search_runs([store.experiment_id]):
        kind, name = run.data.tags.get("pipeline.kind", ""), run.info.run_name
        if run.info.status != "FINISHED" and kind:
            found.append(f"run {name} is {run.info.status}")
        if kind == "trial" or (kind == "model" and done <= STEPS.index("train")):
            epochs = int(run.data.params.get("epochs", 0))
            for curve in ("train/loss", "val/loss", "train/images_per_second"):
                points = store.client.get_metric_history(run.info.run_id, curve)
                steps = sorted(point.step for point in points)
                if steps != [*range(1, epochs + 1)]:
                    found.append(f"curve {curve} of {name}: {steps}, not 1 to {epochs}")
    return found
