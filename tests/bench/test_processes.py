"""A program is watched from outside: its steps, its first batch, its memory, its failures."""

import sys
from pathlib import Path

import pytest

from bench import processes

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


def test_time_inside_training_is_added_up(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import time\n"
        "from components.core.training import loop\n"
        "loop._Loop = lambda *_: type('L', (), {'epoch': 0, 'patience_left': lambda _: True,\n"
        "    'run_epoch': lambda self, _: time.sleep(0.2) or setattr(self, 'epoch', 1)})()\n"
        "for _ in loop.fit(None, None, None, type('C', (), {'epochs': 1})):\n"
        "    time.sleep(0.3)\n"
    )
    finished = processes.run([sys.executable, script])
    assert 0.2 <= finished.inside["fit"] < finished.seconds - 0.3


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
