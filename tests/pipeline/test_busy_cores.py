"""Neighbors are seen where they are, and a quiet machine is not accused."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import busy_cores
from pipeline.forecast import in_words

STAT = """cpu  900 0 0 0 0 0 0 0 0 0
cpu0 {busy} 10 20 {idle} 50 1 2 3 77 88
cpu1 400 0 0 100 0 0 0 0 0 0
cpu7 900 0 0 100 0 0 0 0 0 0
intr 12345
"""


@pytest.fixture
def busy_process() -> Iterator[int]:
    """A process that keeps a core busy, from the moment that it says so."""
    code = "print('begun', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux counts so")
def test_a_busy_process_is_counted(busy_process: int) -> None:
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(busy_process, affinity)
    # Others may keep this test waiting, but what the neighbor uses meanwhile is counted, too.
    assert busy_cores.look(1.0) > busy_cores.NOTICEABLE


def test_ones_own_work_is_no_neighbor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(busy_cores, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    own = iter([5.0, 6.0])
    clock = iter([100.0, 104.0])
    monkeypatch.setattr(time, "process_time", lambda: next(own))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stat.write_text(STAT.format(busy=1_000, idle=5_000))
    neighbors = busy_cores.Neighbors()
    # 7 s more of user time in 4 s, of which 1 s is ours; 9 s of idling do not count
    stat.write_text(STAT.format(busy=1_000 + 7 * os.sysconf("SC_CLK_TCK"), idle=5_900))
    monkeypatch.setattr(busy_cores, "usable_cpus", lambda: 2)
    assert neighbors.cores() == pytest.approx(1.5)


def test_without_the_kernels_count_nobody_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy_cores, "_STAT", tmp_path / "absent")
    assert busy_cores.look(0.01) == 0.0


def test_a_line_mentions_neighbors_only_where_they_matter() -> None:
    assert in_words.beside(0.1) == ""
    assert "cores are busy" in in_words.beside(1.0)
