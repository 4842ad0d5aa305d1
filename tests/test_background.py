"""The suite in the background, where SIGINT is ignored: its tests may still interrupt children."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"


def test_a_child_can_be_interrupted() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == -signal.SIGINT


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_ignored_interrupt_is_not_inherited_by_what_tests_start(workers: str) -> None:
    one = f"{Path(__file__).relative_to(ROOT)}::test_a_child_can_be_interrupted"
    pytest_words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", workers, one]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *pytest_words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
