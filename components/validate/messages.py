"""Outcomes to words: rule results, the list of problems, the lines that a person reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    wrong = f" ({_by_reason(outcome.unexpected)})" if outcome.unexpected else ""
    return f"{len(outcome.unexpected) or 'none'} of {folders}{wrong}"


def _by_reason(unexpected: Mapping[str, str]) -> str:
    """Some classes with what is wrong with them, a reason that several share once."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in unexpected.items():
        names[reason].append(name)
    shown = [(found[:_EXAMPLES], reason) for reason, found in names.items()][:_EXAMPLES]
    more = len(unexpected) - sum(len(found) for found, _ in shown)
    text = "; ".join(f"{', '.join(found)}: {reason}" for found, reason in shown)
    return text + (f"; and {more:,} more" if more else "")


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
        duplicates=sum(map(len, data.copies.values())),
        counts=data.counts(),
        near_duplicates=data.with_near_duplicates(),
        groups=len(groups),
        largest_group=max(groups.values(), default=0),
        pinned=sum(item.pinned for item in data.items),
        rules=results,
    )


def to_problems(data: ScannedDataset, outcomes: Mapping[RuleName, RuleOutcome]) -> list[Problem]:
    """Every row that breaks a rule, and every file that is quarantined; by rule of the suite.

    Copies of such a file were dropped, so no rule met them. They have to go with it, or the next
    validation would use one of them; they come last.
    """
    reasons: dict[tuple[str, str], str] = {
        (rule, name): reason
        for rule, outcome in outcomes.items()
        for name, reason in outcome.unexpected.items()
    }
    # The scan's own words about a file win.
    reasons |= {(f.rule, f.path): f.reason for f in data.files if f.status == "quarantined"}
    problems, copies = [], []
    for (rule, name), reason in reasons.items():
        dropped = data.copies.get(name, ()) if rule != "invalid_names" else ()
        copied = f"{len(dropped):,} copies" if len(dropped) > 1 else "copy"
        problems.append(Problem(name, f"{reason} (and its {copied})" if dropped else reason, rule))
        copies += [Problem(path, f"same bytes as {name}", rule) for path in dropped]
    return problems + copies


def refusal(report: ValidationReport, problems: Sequence[Problem]) -> str:
    """Why the data set is blocked: the first failed rule with up to three of its files."""
    failed = [rule for rule in report.rules if not rule.success and rule.severity == "critical"]
    first = failed[0]
    text = f"rule {first.rule}: found {first.observed}; expected {first.expected}."
    if first.files:
        where = [problem for problem in problems if problem.rule == first.rule]
        # One file for each reason first: forty files of one class say less.
        examples = set({problem.reason: problem for problem in reversed(where)}.values())
        where = sorted(where, key=lambda problem: problem not in examples)
        text += f" {listing([f'{p.path}: {p.reason}' for p in where], _EXAMPLES, '; ')}."
    if others := [rule.rule for rule in failed[1:]]:
        text += f" Also failed: {', '.join(others)}."
    return text


def summary(report: ValidationReport, split_folders: Collection[str] = ()) -> Iterator[str]:
    """What a person wants to know of a data set that passed, in five lines.

    Args:
        report: what validate found.
        split_folders: names of the folders of a predefined split.
    """
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
    how = f"split of the folders {', '.join(split_folders)}:" if split_folders else "split into"
    yield f"validate  {how} {splits}{pinned}"
    yield (
        f"validate  {count(report.groups, 'group')}, the largest of {report.largest_group:,}; "
        f"{count(report.near_duplicates, 'image')} with near duplicates"
    )
    warnings = [rule for rule in report.rules if not rule.success]
    passed = f"validate  {count(len(report.rules) - len(warnings), 'rule')} passed"
    yield passed + "".join(f"; warning: {_warning(rule)}" for rule in warnings)


def _warning(rule: RuleResult) -> str:
    return f"{rule.rule}, found {rule.observed}" + (f" ({rule.files[0]})" if rule.files else "")
