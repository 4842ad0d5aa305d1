"""A program is watched from outside: its steps, its first batch, its memory, its failures."""

import sys
from pathlib import Path

import pytest

from bench import doors, processes

# Two steps of an optimizer; the first batch comes after half a second.
_PROGRAM = """
import time
import torch

network = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(network.parameters(), 0.1)
time.sleep(0.5)
before = time.time()
for _ in range(2):
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
print(before)
"""


def test_steps_and_the_first_batch_are_seen_without_a_word_in_the_program(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(_PROGRAM)
    finished = processes.run([sys.executable, script])
    assert len(finished.steps) == 2
    assert finished.first_batch is not None
    assert 0.5 < finished.first_batch < finished.steps[0] < finished.steps[1] < finished.seconds
    assert finished.inside == {}


def test_time_inside_functions_and_generators_is_added_up(tmp_path: Path) -> None:
    """Where training and decoding happen, by the names of this project's modules."""
    package = tmp_path / "components"
    for name, text in {
        "core/training/loop.py": "def fit():\n    for _ in 'ab': yield time.sleep(0.2)\n",
        "io/data/scan.py": "def scan(): time.sleep(0.2)\n",
    }.items():
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text(f"import time\n{text}")
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    script = tmp_path / "program.py"
    script.write_text(
        "import time\n"
        "from components.core.training.loop import fit\n"
        "from components.io.data.scan import scan\n"
        "for _ in fit(): time.sleep(0.3)\n"
        "scan()\n"
    )
    finished = processes.run([sys.executable, script], environment={"PYTHONPATH": str(tmp_path)})
    assert 0.4 <= finished.inside["fit"] < finished.seconds - 0.8
    assert 0.2 <= finished.inside["scan"] < finished.seconds - 1.0


def test_the_timed_functions_exist() -> None:
    from components.core.training.loop import fit
    from components.io.data.pixel_cache import open_pixels
    from components.io.data.scan import scan

    assert {function.__name__ for function in (fit, open_pixels, scan)} == {
        *doors.TRAINING,
        *doors.DECODING,
    }


def test_memory_counts_children(tmp_path: Path) -> None:
    child = "import time; held = b'x' * 300_000_000; time.sleep(3)"
    script = tmp_path / "program.py"
    words = [sys.executable, "-c", child]
    script.write_text(f"import subprocess\nsubprocess.run({words!r}, check=True)\n")
    finished = processes.run([sys.executable, script])
    assert finished.peak_own_mib > 280
    assert finished.peak_mib >= finished.peak_own_mib


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(processes.ProgramFailed, match="no such thing"):
        processes.run([sys.executable, "-c", "raise SystemExit('no such thing')"])
