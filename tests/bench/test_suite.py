"""A stopped run goes on where it was; a complete one is not added to."""

import argparse
import json
from pathlib import Path
from typing import Any

from bench import suite
from bench.doors import COMMANDS

SETTINGS = {"rounds": 2, "timm": ""}
OPTIONS = argparse.Namespace(rounds=2, peers=False, quick=True, timm_train=None)


def write(file: Path, **changes: Any) -> dict[str, Any]:
    begun = suite.begin(file, SETTINGS)
    suite.save(file, {**begun, **changes})
    stored: dict[str, Any] = json.loads(file.read_text())
    return stored


def left(results: dict[str, Any]) -> list[str]:
    return [name for name, _ in suite.steps(results, OPTIONS)]


def test_a_new_run_measures_every_side_and_command_in_each_round(tmp_path: Path) -> None:
    names = left(suite.begin(tmp_path / "suite.json", SETTINGS))
    sides = ["plain", "ours", "limit"]
    rounds = [f"training: round {number}, {side}" for number in (1, 2) for side in sides]
    assert names[:7] == ["training: preparing", *rounds]
    assert names[7:9] == ["validation", "the whole pipeline"]
    assert names[9:] == [
        f"commands: round {number}, {command}" for number in (1, 2) for command in COMMANDS
    ]


def test_a_stopped_run_goes_on_with_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "suite.json"
    kept = write(file, training={"plain": [{}, {}], "ours": [{}], "limit": [{}]}, validation=[{}])
    found = suite.begin(file, SETTINGS)
    assert found == kept
    assert left(found)[:3] == [
        "training: preparing",
        "training: round 2, ours",
        "training: round 2, limit",
    ]
    assert "validation" not in left(found)


def test_other_settings_or_a_complete_run_begin_anew(tmp_path: Path) -> None:
    file = tmp_path / "suite.json"
    write(file, training={"plain": [{}]})
    assert suite.begin(file, {**SETTINGS, "rounds": 3})["training"] == {}
    write(file, training={"plain": [{}]}, complete=True)
    assert suite.begin(file, SETTINGS)["training"] == {}
