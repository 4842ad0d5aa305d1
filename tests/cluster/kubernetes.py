"""kubectl, as a person uses it, on the cluster that KUBECONFIG names."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SERVICES, RUNS = "image-classification", "image-classification-runs"


def find() -> str:
    """The user's own kubectl, else the one of the development packages."""
    return shutil.which("kubectl") or str(Path(sys.executable).parent / "kubectl")


def kubectl(*words: str, stdin: str | None = None, check: bool = True) -> str:
    """What it prints; a failure shows what it said."""
    done = subprocess.run(
        [find(), *words], input=stdin, capture_output=True, text=True, check=False, timeout=900
    )
    assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
    return done.stdout


def get(*words: str) -> list[dict[str, Any]]:
    """The objects of `kubectl get <words>`; none if there is no such kind or name."""
    text = kubectl("get", *words, "--output=json", "--ignore-not-found", check=False)
    found = json.loads(text) if text.strip() else {"items": []}
    return list(found["items"]) if "items" in found else [found]


def until(seconds: float, what: str, found: Callable[[], Any]) -> Any:
    """What `found` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"not after {seconds:g} s: {what}"
        time.sleep(0.5)
    return result


@contextlib.contextmanager
def port_forward(service: str, port: int, *, here: int | None = None) -> Iterator[str]:
    """`http://127.0.0.1:<port>` of a service, until the block ends; None = any free port."""
    ports = f"{here or ''}:{port}"
    command = [find(), "-n", SERVICES, "port-forward", f"service/{service}", ports]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, line
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
