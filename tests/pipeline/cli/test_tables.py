"""Tables: plain and whole without a terminal, wrapped and colored on one."""

import io
import sys
from typing import Any

import pytest

from pipeline.cli.common import print_json, print_table

ROWS = [("pass", "short"), ("fail", "a cell that is longer than the terminal is wide" * 3)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_columns_are_aligned_and_cells_stay_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("status", "found"), ROWS)
    assert capsys.readouterr().out == (f"status  found\npass    short\nfail    {ROWS[1][1]}\n")
    print_table(("status", "found"), ROWS[:1], header=False, widths=(9, 0))
    assert capsys.readouterr().out == "pass       short\n"


def test_with_widths_each_row_is_printed_as_soon_as_it_comes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def rows() -> Any:
        for row in ROWS:
            yield row
            seen.append(capsys.readouterr().out)

    print_table(("status", "found"), rows(), header=False, widths=(6, 0))
    assert [text[:4] for text in seen] == ["pass", "fail"]


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_wraps_cells_and_has_colors_unless_they_are_unwanted(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(("status", "found"), ROWS)
    text = terminal.getvalue()
    assert ("\x1b[32mpass" in text) is not no_color
    assert len(text.splitlines()) > 4


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"version": None, "problems": ["a"]})
    assert capsys.readouterr().out == '{"version": null, "problems": ["a"]}\n'
