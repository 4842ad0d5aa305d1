"""Great Expectations passes on nothing; the judge does not."""

import pandas as pd
import pytest

from components.validate.expectations import Outcome, judge
from components.validate.rules import Rule

BETWEEN = "ExpectColumnValuesToBeBetween"
SIDE = Rule("min_side", "used", BETWEEN, {"column": "side", "min_value": 8}, "", "side {:,} px")
ROWS = Rule("min_images", "used", "ExpectTableRowCountToBeBetween", {"min_value": 2}, "")


def judged(table: pd.DataFrame, *rules: Rule) -> dict[str, Outcome]:
    return {str(name): outcome for name, outcome in judge({"used": table}, rules).items()}


def test_offenders_are_named_with_their_reason() -> None:
    table = pd.DataFrame({"name": ["a", "b <&>", "c"], "side": [8, 7, 1000]})
    outcomes = judged(table, SIDE, ROWS)
    assert outcomes["min_side"] == Outcome(False, 3, {"b <&>": "side 7 px"})
    assert outcomes["min_images"] == Outcome(True, 3, {})


def test_a_tolerance_counts_shares_and_still_names_the_offenders() -> None:
    bad = [""] * 9 + ["conflicts"]
    table = pd.DataFrame({"name": list("abcdefghij"), "max_unreadable": bad})
    for mostly, success in ((0.9, True), (0.91, False)):
        arguments = {"column": "max_unreadable", "value_set": [""], "mostly": mostly}
        rule = Rule("max_unreadable", "used", "ExpectColumnValuesToBeInSet", arguments, "")
        outcome = judged(table, rule)["max_unreadable"]
        assert outcome == Outcome(success, 10, {"j": "conflicts"})


def test_an_empty_table_fails_the_row_count() -> None:
    empty = pd.DataFrame({"name": [], "side": []})
    outcomes = judged(empty, SIDE, ROWS)
    assert outcomes["min_images"] == Outcome(False, 0, {})


@pytest.mark.parametrize("sides", [[None, None, None], [9.0, float("nan"), 9.0]])
def test_empty_cells_are_red(sides: list[float | None]) -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], "side": sides}, dtype=object)
    outcome = judged(table, SIDE)["min_side"]
    assert not outcome.success
    assert "empty cells" in outcome.fault


def test_a_missing_column_is_red() -> None:
    outcome = judged(pd.DataFrame({"name": ["a"]}), SIDE)["min_side"]
    assert not outcome.success
    assert outcome.fault.startswith("raised ")
    assert "side" in outcome.fault
    assert "\n" not in outcome.fault


def test_a_rule_about_a_table_that_is_not_there_is_red() -> None:
    stray = Rule("max_side", "classes", BETWEEN, {"column": "side", "max_value": 9}, "")
    table = pd.DataFrame({"name": ["a"], "side": [9]})
    outcomes = judged(table, SIDE, stray)
    assert outcomes["min_side"].success
    assert outcomes["max_side"] == Outcome(False, fault="was not evaluated")
