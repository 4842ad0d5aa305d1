"""Outcomes to words: rule results, the list of problems, the lines that a person reads."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from components.core.artifacts import SPLITS, RuleResult, ValidationReport, data_digest
from components.io.reports.pages import Problem
from components.validate.expectations import Outcome
from components.validate.grouping import ScannedDataset
from components.validate.rules import Rule, RuleName, ValidateParams

if TYPE_CHECKING:
    import pandas as pd

_FILES_OF_A_RULE = 20
_NAMED = 3


def to_results(
    rules: Sequence[Rule],
    outcomes: Mapping[RuleName, Outcome],
    params: ValidateParams,
    class_names: Sequence[str],
) -> list[RuleResult]:
    """One result a rule, in the order of the suite."""
    results = []
    for rule in rules:
        outcome = outcomes[rule.name]
        # A rule that could not be judged blocks, whatever its level.
        tolerated = rule.name in params.warning_rules and not outcome.fault
        result = RuleResult(
            rule=rule.name,
            level="warn" if tolerated else "error",
            success=outcome.success,
            found=_found(rule, outcome, class_names),
            wanted=rule.wanted,
            files=[] if rule.table == "classes" else list(outcome.unexpected)[:_FILES_OF_A_RULE],
        )
        results.append(result)
    return results


def _found(rule: Rule, outcome: Outcome, class_names: Sequence[str]) -> str:
    if outcome.fault:
        return f"a rule that {outcome.fault}"
    if rule.name == "min_images":
        return _count(outcome.rows, "image")
    if rule.table != "classes":
        return f"{len(outcome.unexpected) or 'none'} of {_count(outcome.rows, 'file')}"
    folders = _count(outcome.rows, "class folder")
    if rule.name == "min_classes":
        return folders + (f" ({class_names[0]})" if outcome.rows == 1 else "")
    wrong = [f"{name}: {reason}" for name, reason in outcome.unexpected.items()]
    return f"{len(wrong)} of {folders} ({_listed(wrong)})" if wrong else f"none of {folders}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}" if number < 2 else f"{number:,} {noun}s"


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return separator.join(names[:_NAMED]) + more


def passes(results: Sequence[RuleResult]) -> bool:
    """Whether no rule blocks."""
    return all(result.success or result.level == "warn" for result in results)


def to_report(
    data: ScannedDataset, manifest: pd.DataFrame, results: list[RuleResult]
) -> ValidationReport:
    """The hand-off to later steps."""
    status = Counter(file.status for file in data.files)
    groups = Counter(member.group for member in data.members)
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
        near_duplicates=data.near_duplicates,
        groups=len(groups),
        largest_group=max(groups.values(), default=0),
        pinned=sum(member.pinned for member in data.members),
        rules=results,
    )


def to_problems(data: ScannedDataset, outcomes: Mapping[RuleName, Outcome]) -> list[Problem]:
    """Every row that breaks a rule, and every file that is quarantined; by rule of the suite."""
    found = [
        Problem(name, reason, rule)
        for rule, outcome in outcomes.items()
        for name, reason in outcome.unexpected.items()
    ]
    found += [Problem(f.path, f.reason, f.rule) for f in data.files if f.status == "quarantined"]
    # The scan's own words about a file come last and win.
    return list({(problem.rule, problem.path): problem for problem in found}.values())


def to_csv(problems: Sequence[Problem]) -> str:
    """The quarantine list: path, reason, rule."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "reason", "rule"])
    writer.writerows([problem.path, problem.reason, problem.rule] for problem in problems)
    return text.getvalue()


def refusal(report: ValidationReport, problems: Sequence[Problem]) -> str:
    """Why the data set is blocked: the first failing rule with up to three offending files."""
    failed = [rule for rule in report.rules if not rule.success and rule.level == "error"]
    first = failed[0]
    text = f"rule {first.rule}: found {first.found}; wanted {first.wanted}."
    if first.files:
        where = [f"{p.path}: {p.reason}" for p in problems if p.rule == first.rule]
        text += f" {_listed(where, '; ')}."
    if others := [rule.rule for rule in failed[1:]]:
        text += f" Also failed: {', '.join(others)}."
    return text


def summary(report: ValidationReport) -> Iterator[str]:
    """What a person wants to know of a data set that passed, in five lines."""
    yield (
        f"validate  {report.found:,} files = {report.used:,} used + {report.quarantined:,} "
        f"quarantined + {report.ignored:,} ignored ({report.duplicates:,} duplicates)"
    )
    totals = {name: sum(count.values()) for name, count in report.counts.items()}
    smallest, largest = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    spread = f"{smallest} has {totals[smallest]:,} images, {largest} {totals[largest]:,}"
    if totals[smallest] == totals[largest]:
        spread = f"{totals[smallest]:,} images each"
    yield f"validate  {len(totals):,} classes: {spread}"
    sizes = {split: sum(count[split] for count in report.counts.values()) for split in SPLITS}
    pinned = f"; {report.pinned:,} pinned" if report.pinned else ""
    shown = ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    yield f"validate  split into {shown}{pinned}"
    yield (
        f"validate  {_count(report.groups, 'group')}, the largest of {report.largest_group:,}; "
        f"{_count(report.near_duplicates, 'image')} with look-alikes"
    )
    warned = [rule for rule in report.rules if not rule.success]
    passed = f"validate  {len(report.rules) - len(warned)} rules passed"
    yield passed + "".join(f"; warning: {_warning(rule)}" for rule in warned)


def _warning(rule: RuleResult) -> str:
    return f"{rule.rule}, found {rule.found}" + (f" ({rule.files[0]})" if rule.files else "")
