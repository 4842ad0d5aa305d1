"""CPUs by affinity and by the quota of the control group, of either version."""

import math
import os
from pathlib import Path

import pytest

from components.io import process
from components.io.data import cpus


def groups(root: Path, own: str, **files: str) -> tuple[Path, Path]:
    """A tree of control groups: a double underscore in a name is a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "own").write_text(own)
    return root, root / "own"


@pytest.mark.row("R21")
@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"cpu_max": "150000 100000\n"}, 1.5),
        ("0::/", {"cpu_max": "max 100000\n"}, math.inf),
        ("0::/pod/container", {"pod__cpu_max": "400000 100000\n"}, 4),
        (
            "0::/pod/x",
            {"pod__cpu_max": "400000 100000\n", "pod__x__cpu_max": "50000 100000\n"},
            0.5,
        ),
        (
            "3:cpu,cpuacct:/\n2:memory:/",
            {"cpu__cpu_cfs_quota_us": "200000\n", "cpu__cpu_cfs_period_us": "100000\n"},
            2,
        ),
        (
            "3:cpu,cpuacct:/",
            {"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"},
            math.inf,
        ),
        ("", {}, math.inf),
    ],
)
def test_the_least_quota_of_all_groups_counts(
    own: str, files: dict[str, str], expected: float, tmp_path: Path
) -> None:
    assert cpus.cgroup_quota(*groups(tmp_path, own, **files)) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpus.cgroup_quota(tmp_path / "none", tmp_path / "neither") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(0.2, 1), (1.2, 2), (math.inf, 3)])
def test_affinity_and_quota_both_limit(
    quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cgroup_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7})
    assert cpus.usable_cpus() == expected


@pytest.mark.parametrize(("given", "expected"), [({}, "2"), ({"OMP_NUM_THREADS": "7"}, "7")])
def test_torch_gets_as_many_threads_unless_somebody_decides(
    given: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "cgroup_quota", lambda: 1.5)
    monkeypatch.setattr(process, "usable_cpus", lambda: 2)
    monkeypatch.setattr(os, "environ", {**os.environ})
    process.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == expected


def test_without_a_quota_torch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "cgroup_quota", lambda: math.inf)
    monkeypatch.setattr(os, "environ", {})
    process.limit_threads()
    assert "OMP_NUM_THREADS" not in os.environ
