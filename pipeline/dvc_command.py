"""Let DVC record what was written."""

from __future__ import annotations

import os
import subprocess
import sys

from components.core.errors import PipelineError


def run_dvc(*words: str) -> None:
    """Run `dvc <words>` in the current folder.

    Raises:
        PipelineError: it refuses; with its words.
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "dvc", *words],
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = " ".join((done.stderr or done.stdout).split())[:300]
        raise PipelineError(
            f"dvc {' '.join(words)}: {message or 'failed'}. What was written is in place; fix "
            "that, then run the same command again."
        )
