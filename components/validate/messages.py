"""Outcomes to words: rule results, the list of problems, the lines that a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from components.core.artifacts import SPLITS, RuleResult, ValidationReport, data_digest
from components.core.data.grouping import ScannedDataset
from components.core.phrases import count, listing
from components.io.reports.validation import Problem
from components.validate.expectations import RuleOutcome
from components.validate.rules import Rule, RuleName, ValidateParams

if TYPE_CHECKING:
    import pandas as pd

_FILES_PER_RULE = 20
_EXAMPLES = 3


def to_results(
    rules: Sequence[Rule],
    outcomes: Mapping[RuleName, RuleOutcome],
    params: ValidateParams,
    class_names: Sequence[str],
) -> list[RuleResult]:
    """One result per rule, in the order of the suite."""
    results = []
    for rule in rules:
        outcome = outcomes[rule.name]
        # A rule that could not be evaluated blocks, whatever params say.
        tolerated = rule.name in params.warning_rules and not outcome.exception
        result = RuleResult(
            rule=rule.name,
            severity="warning" if tolerated else "critical",
            success=outcome.success,
            observed=_observed(rule, outcome, class_names),
            expected=rule.expected,
            files=[] if rule.table == "classes" else list(outcome.unexpected)[:_FILES_PER_RULE],
        )
        results.append(result)
    return results


def _observed(rule: Rule, outcome: RuleOutcome, class_names: Sequence[str]) -> str:
    if outcome.exception:
        return f"a rule that {outcome.exception}"
    if rule.name == "min_images":
        return count(outcome.rows, "image")
    if rule.table != "classes":
        return f"{len(outcome.unexpected) or 'none'} of {count(outcome.rows, 'file')}"
    folders = count(outcome.rows, "class folder")
    if rule.name == "min_classes":
        return folders + (f" ({class_names[0]})" if outcome.rows == 1 else "")
    wrong = [f"{name}: {reason}" for name, reason in outcome.unexpected.items()]
    return (
        f"{len(wrong)} of {folders} ({listing(wrong, _EXAMPLES)})"
        if wrong
        else f"none of {folders}"
    )


def passes(results: Sequence[RuleResult]) -> bool:
    """Whether no rule blocks."""
    return all(result.success or result.severity == "warning" for result in results)


def to_report(
    data: ScannedDataset, manifest: pd.DataFrame, results: list[RuleResult]
) -> ValidationReport:
    """The hand-off to later steps."""
    status = Counter(file.status for file in data.files)
    groups = Counter(item.group for item in data.items)
    return ValidationReport(
        success=passes(results),
        data_digest=data_digest(manifest),
        class_names=list(data.class_names),
        found=len(data.files),
        used=status["used"],
        quarantined=status["quarantined"],
        ignored=status["ignored"],
        duplicates=data.duplicates,
        counts=data.counts(),
        near_duplicates=data.with_near_duplicates(),
        groups=len(groups),
        largest_group=max(groups.values(), default=0),
        pinned=sum(item.pinned for item in data.items),
        rules=results,
    )


def to_problems(data: ScannedDataset, outcomes: Mapping[RuleName, RuleOutcome]) -> list[Problem]:
    """Every row that breaks a rule, and every file that is quarantined; by rule of the suite."""
    problems = [
        Problem(name, reason, rule)
        for rule, outcome in outcomes.items()
        for name, reason in outcome.unexpected.items()
    ]
    problems += [Problem(f.path, f.reason, f.rule) for f in data.files if f.status == "quarantined"]
    # The scan's own words about a file come last and win.
    return list({(problem.rule, problem.path): problem for problem in problems}.values())


def refusal(report: ValidationReport, problems: Sequence[Problem]) -> str:
    """Why the data set is blocked: the first failed rule with up to three of its files."""
    failed = [rule for rule in report.rules if not rule.success and rule.severity == "critical"]
    first = failed[0]
    text = f"rule {first.rule}: found {first.observed}; expected {first.expected}."
    if first.files:
        where = [f"{p.path}: {p.reason}" for p in problems if p.rule == first.rule]
        text += f" {listing(where, _EXAMPLES, '; ')}."
    if others := [rule.rule for rule in failed[1:]]:
        text += f" Also failed: {', '.join(others)}."
    return text


def summary(report: ValidationReport) -> Iterator[str]:
    """What a person wants to know of a data set that passed, in five lines."""
    yield (
        f"validate  {report.found:,} files = {report.used:,} used + {report.quarantined:,} "
        f"quarantined + {report.ignored:,} ignored ({report.duplicates:,} duplicates)"
    )
    totals = {name: sum(by_split.values()) for name, by_split in report.counts.items()}
    smallest, largest = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    sizes = f"{smallest} has {totals[smallest]:,} images, {largest} {totals[largest]:,}"
    if totals[smallest] == totals[largest]:
        sizes = f"{totals[smallest]:,} images each"
    yield f"validate  {len(totals):,} classes: {sizes}"
    by_split = {s: sum(split_counts[s] for split_counts in report.counts.values()) for s in SPLITS}
    splits = ", ".join(f"{split} {size:,}" for split, size in by_split.items())
    pinned = f"; {report.pinned:,} pinned" if report.pinned else ""
    yield f"validate  split into {splits}{pinned}"
    yield (
        f"validate  {count(report.groups, 'group')}, the largest of {report.largest_group:,}; "
        f"{count(report.near_duplicates, 'image')} with near duplicates"
    )
    warnings = [rule for rule in report.rules if not rule.success]
    passed = f"validate  {count(len(report.rules) - len(warnings), 'rule')} passed"
    yield passed + "".join(f"; warning: {_warning(rule)}" for rule in warnings)


def _warning(rule: RuleResult) -> str:
    return f"{rule.rule}, found {rule.observed}" + (f" ({rule.files[0]})" if rule.files else "")
