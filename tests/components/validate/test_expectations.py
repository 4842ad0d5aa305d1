"""Great Expectations passes on nothing; `run_expectations` does not."""

import pandas as pd
import pytest

from components.validate.expectations import RuleOutcome, run_expectations
from components.validate.rules import Rule

BETWEEN = "ExpectColumnValuesToBeBetween"
SIDE = Rule(
    "min_side", "used", BETWEEN, {"column": "side", "min_value": 8}, "", "side {:,} px".format
)
ROWS = Rule("min_images", "used", "ExpectTableRowCountToBeBetween", {"min_value": 2}, "")


def evaluate(table: pd.DataFrame, *rules: Rule) -> dict[str, RuleOutcome]:
    return {
        str(name): outcome for name, outcome in run_expectations({"used": table}, rules).items()
    }


def test_unexpected_rows_are_named_with_their_reason() -> None:
    table = pd.DataFrame({"name": ["a", "b <&>", "c"], "side": [8, 7, 1000]})
    outcomes = evaluate(table, SIDE, ROWS)
    assert outcomes["min_side"] == RuleOutcome(False, 3, {"b <&>": "side 7 px"})
    assert outcomes["min_images"] == RuleOutcome(True, 3, {})


def test_a_tolerance_counts_shares_and_still_names_the_rows() -> None:
    bad = [""] * 9 + ["conflicts"]
    table = pd.DataFrame({"name": list("abcdefghij"), "max_unreadable": bad})
    for mostly, success in ((0.9, True), (0.91, False)):
        arguments = {"column": "max_unreadable", "value_set": [""], "mostly": mostly}
        rule = Rule("max_unreadable", "used", "ExpectColumnValuesToBeInSet", arguments, "")
        outcome = evaluate(table, rule)["max_unreadable"]
        assert outcome == RuleOutcome(success, 10, {"j": "conflicts"})


@pytest.mark.row("D42")
def test_an_empty_table_fails_the_row_count() -> None:
    empty = pd.DataFrame({"name": [], "side": []})
    outcomes = evaluate(empty, SIDE, ROWS)
    assert outcomes["min_images"] == RuleOutcome(False, 0, {})


@pytest.mark.row("D42")
@pytest.mark.parametrize("sides", [[None, None, None], [9.0, float("nan"), 9.0]])
def test_empty_cells_fail(sides: list[float | None]) -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], "side": sides}, dtype=object)
    outcome = evaluate(table, SIDE)["min_side"]
    assert not outcome.success
    assert "empty cells" in outcome.exception


@pytest.mark.row("D42")
def test_a_missing_column_fails() -> None:
    outcome = evaluate(pd.DataFrame({"name": ["a"]}), SIDE)["min_side"]
    assert not outcome.success
    assert outcome.exception.startswith("raised ")
    assert "side" in outcome.exception
    assert "\n" not in outcome.exception


@pytest.mark.row("D42")
def test_a_rule_about_a_table_that_is_not_there_fails() -> None:
    extra = Rule("max_side", "classes", BETWEEN, {"column": "side", "max_value": 9}, "")
    table = pd.DataFrame({"name": ["a"], "side": [9]})
    outcomes = evaluate(table, SIDE, extra)
    assert outcomes["min_side"].success
    assert outcomes["max_side"] == RuleOutcome(False, exception="was not evaluated")
