"""docs/reliability.md says what rows, marks and results say, and no row is forgotten."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import report

PLANTED = """
import pytest

@pytest.mark.row("D01")
@pytest.mark.parametrize("wrong", [False, True])
def test_a_fault(wrong):
    assert not wrong
"""


def forgotten(rows: report.Rows, tests: dict[str, list[str]]) -> list[str]:
    """Rows without a test or a reason, or with both; marks that name no row."""
    found = [id_ for id_, row in rows.items() if bool(tests.get(id_)) == ("untested" in row)]
    return [*found, *sorted(set(tests) - set(rows))]


def test_every_row_has_a_test_or_a_reason() -> None:
    rows, tests = report.read_rows(), report.marked_tests()
    assert len(rows) > 140
    assert forgotten(rows, tests) == []


def test_a_row_without_a_test_and_a_mark_without_a_row_are_noticed() -> None:
    rows = {"D01": {"severity": "A"}, "D02": {"severity": "A", "untested": "needs a cluster"}}
    assert forgotten(rows, {}) == ["D01"]
    assert forgotten(rows, {"D01": ["x"], "D02": ["x"], "D99": ["x"]}) == ["D02", "D99"]


def test_the_page_is_in_step() -> None:
    expected = report.page(report.read_rows(), report.marked_tests(), report.read_results())
    assert report.PAGE.read_text() == expected, "run `python -m tests.faults.report`"


def test_no_marked_test_failed_when_it_last_ran() -> None:
    failed = [test for test, (outcome, _) in report.read_results().items() if outcome == "failed"]
    assert failed == []


def test_a_row_shows_its_tests_and_what_became_of_them() -> None:
    row = {"severity": "B", "fault": "a | b", "seen": "one line"}
    tests = {"D01": ["io/test_a.py::test_it_holds", "test_b.py::test_new"]}
    text = report.page({"D01": row}, tests, {"io/test_a.py::test_it_holds": ("passed", "today")})
    assert "one line | `a: it holds`<br>`b: new` | passed today<br>not run yet |" in text


def test_one_failed_case_is_a_failed_test(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_planted.py").write_text(PLANTED)
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\nfrom tests.faults import report\n"
        "report.marked_tests = lambda: {'D01': ['test_planted.py::test_a_fault']}\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'row(*ids): rows')\n"
        "    config.pluginmanager.register(report.Recorder(Path('results.json')))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(report.TESTS.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert '"failed"' in (tmp_path / "results.json").read_text()


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [({"passed", "skipped"}, "passed"), ({"skipped"}, "skipped"), ({"passed", "failed"}, "failed")],
)
def test_the_worst_case_counts(outcomes: set[str], shown: str) -> None:
    assert report.worst(outcomes) == shown
