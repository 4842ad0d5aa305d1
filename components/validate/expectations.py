"""The one use of Great Expectations: rules and tables in, outcomes out. When in doubt, fail."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.validate.rules import Rule, RuleName, Table

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule found.

    Attributes:
        success: whether the expectation is met.
        rows: of the rule's table.
        unexpected: what is wrong, by name of the row.
        exception: why the rule could not be evaluated, which makes it fail; otherwise empty.
    """

    success: bool
    rows: int = 0
    unexpected: Mapping[str, str] = field(default_factory=dict)
    exception: str = ""


def run_expectations(
    tables: Mapping[Table, pd.DataFrame], rules: Sequence[Rule]
) -> dict[RuleName, RuleOutcome]:
    """Evaluate every rule on its table, whose column `name` tells the rows apart.

    A rule that raises, is left out or meets an empty cell has failed.
    """
    import great_expectations as gx

    # This module gives itself a level of its own and would log its temporary folders.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("validate")
    outcomes = {rule.name: RuleOutcome(False, exception="was not evaluated") for rule in rules}
    for name, table in tables.items():
        own = {rule.name: rule for rule in rules if rule.table == name}
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        validation = batch.get_batch(batch_parameters={"dataframe": table}).validate(
            _suite(name, own.values()),
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["name"],
            },
        )
        for result in validation.results:
            rule = own[result.expectation_config.meta["rule"]]
            outcomes[rule.name] = _read(result, rule, len(table))
    context.data_sources.delete(source.name)  # the context outlives this call, with its tables
    return outcomes


def _suite(name: str, rules: Iterable[Rule]) -> gx.ExpectationSuite:
    import great_expectations as gx

    def expectation(rule: Rule) -> gx.expectations.Expectation:
        kind = getattr(gx.expectations, rule.expectation)
        return kind(**rule.arguments, meta={"rule": rule.name})

    return gx.ExpectationSuite(name=name, expectations=[expectation(rule) for rule in rules])


def _read(result: ExpectationValidationResult, rule: Rule, rows: int) -> RuleOutcome:
    found = result.result
    if "observed_value" not in found and "unexpected_index_list" not in found:
        return RuleOutcome(False, rows, exception=f"raised {_raised(result.exception_info or {})}")
    if missing := found.get("missing_count"):
        return RuleOutcome(False, rows, exception=f"met {missing:,} empty cells")
    column = str(rule.arguments.get("column"))
    unexpected = {
        str(row["name"]): rule.reason(row[column])
        for row in found.get("unexpected_index_list") or ()
    }
    return RuleOutcome(bool(result.success), rows, unexpected)


def _raised(info: Mapping[str, object]) -> str:
    """The message of the exception, in one line; it is at the top or below a metric's name."""
    for place in (info, *info.values()):
        if isinstance(place, Mapping) and (message := place.get("exception_message")):
            return " ".join(str(message).split())[:200]
    return "an error without a message"
