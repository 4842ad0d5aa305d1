"""What a person reads: honest severities, one line for a refusal, a few for a pass."""

import pytest

from components.core.artifacts import RuleResult, Split, ValidationReport
from components.core.data.near_duplicates import NearDuplicateParams
from components.io.reports.validation import Problem
from components.validate.expectations import RuleOutcome
from components.validate.messages import passes, refusal, summary, to_results
from components.validate.rules import Rule, ValidateParams
from tests import factories

PARAMS = ValidateParams(
    exclude=[],
    group_pattern=None,
    near_duplicates=NearDuplicateParams(max_hamming_distance=11, min_similarity=0.7),
    split={"train": 0.6, "val": 0.2, "test": 0.2},
    split_seed=0,
    min_images=1,
    min_images_per_class=1,
    min_side=1,
    max_side=9,
    max_aspect_ratio=1.0,
    max_unreadable=0.0,
    max_imbalance=1.0,
    max_group_share=1.0,
    warning_rules=["max_aspect_ratio"],
)
ASPECT = Rule("max_aspect_ratio", "used", "", {}, "squares")


def result(success: bool, severity: str = "critical", name: str = "max_aspect_ratio") -> RuleResult:
    values = {"rule": name, "severity": severity, "success": success}
    return RuleResult.model_validate(values | {"observed": "x", "expected": "y", "files": []})


def test_a_tolerated_rule_warns() -> None:
    outcome = RuleOutcome(False, 4, {"a.png": "wide"})
    (found,) = to_results([ASPECT], {"max_aspect_ratio": outcome}, PARAMS, [])
    assert (found.severity, found.observed, found.files) == ("warning", "1 of 4 files", ["a.png"])
    assert passes([found])


@pytest.mark.row("D42")
def test_a_tolerated_rule_that_could_not_be_evaluated_blocks() -> None:
    outcome = RuleOutcome(False, 4, exception="was not evaluated")
    (found,) = to_results([ASPECT], {"max_aspect_ratio": outcome}, PARAMS, [])
    assert (found.severity, found.observed) == ("critical", "a rule that was not evaluated")
    assert not passes([found])


def test_only_failed_critical_rules_block() -> None:
    assert passes([result(True), result(False, "warning")])
    assert not passes([result(True), result(False)])


def report(rules: list[RuleResult], success: bool) -> ValidationReport:
    return factories.validation_report(
        success=success,
        class_names=["cat", "dog"],
        found=1_010,
        used=1_000,
        quarantined=2,
        ignored=8,
        duplicates=3,
        counts={
            "cat": {"train": 600, "val": 100, "test": 100},
            "dog": {"train": 150, "val": 25, "test": 25},
        },
        near_duplicates=7,
        groups=900,
        largest_group=4,
        rules=rules,
    )


def test_a_pass_is_reported_in_five_lines() -> None:
    rules = [result(True), result(False, "warning")]
    assert list(summary(report(rules, True))) == [
        "validate  1,010 files = 1,000 used + 2 quarantined + 8 ignored (3 duplicates)",
        "validate  2 classes: dog has 200 images, cat 800",
        "validate  split into train 750, val 125, test 125",
        "validate  900 groups, the largest of 4; 7 images with near duplicates",
        "validate  1 rule passed; warning: max_aspect_ratio, found x",
    ]


def test_classes_of_equal_size_are_not_compared() -> None:
    even: dict[Split, int] = {"train": 40, "val": 5, "test": 5}
    found = report([result(True)], True).model_copy(update={"counts": {"a": even, "b": even}})
    assert list(summary(found))[1] == "validate  2 classes: 50 images each"


def test_pinned_images_are_counted() -> None:
    pinned = report([result(True)], True).model_copy(update={"pinned": 990})
    assert list(summary(pinned))[2].endswith("split into train 750, val 125, test 125; 990 pinned")


def test_a_refusal_starts_with_the_first_rule_that_blocks() -> None:
    rules = [result(True), result(False, "warning"), result(False, "critical", "invalid_names")]
    rules.append(result(False, "critical", "min_side"))
    rules[2] = rules[2].model_copy(update={"files": ["a", "b", "c", "d"]})
    problems = [Problem(name, "odd", "invalid_names") for name in "abcd"] + [
        Problem("e", "", "min_side")
    ]
    assert refusal(report(rules, False), problems) == (
        "rule invalid_names: found x; expected y. a: odd; b: odd; c: odd and 1 more. "
        "Also failed: min_side."
    )


def test_classes_that_share_a_reason_are_named_with_it_once() -> None:
    rule = Rule("class_level", "classes", "", {}, "classes")
    wrong = {"a": "odd", "b": "even", "c": "odd", "d": "odd", "e": "odd", "f": "prime"}
    (found,) = to_results(
        [rule], {"class_level": RuleOutcome(False, 9, wrong)}, PARAMS, sorted("abcdefghi")
    )
    assert found.observed == ("6 of 9 class folders (a, c, d: odd; b: even; f: prime; and 1 more)")


def test_a_refusal_has_an_example_of_each_reason() -> None:
    rules = [result(False, "critical", "invalid_names").model_copy(update={"files": ["a"]})]
    problems = [Problem(name, "odd", "invalid_names") for name in "abc"]
    problems += [Problem("x", "even", "invalid_names")]
    assert "expected y. a: odd; x: even; b: odd and 1 more." in refusal(
        report(rules, False), problems
    )


def test_of_classes_of_equal_size_the_first_by_name_is_named() -> None:
    sizes = {"a": 50, "b": 40, "c": 50, "d": 40}
    counts = {name: {"train": size, "val": 5, "test": 5} for name, size in sizes.items()}
    found = report([result(True)], True).model_copy(update={"counts": counts})
    assert list(summary(found))[1] == "validate  4 classes: b has 50 images, a 60"


def test_the_folders_of_a_predefined_split_are_named() -> None:
    lines = list(summary(report([result(True)], True), ["seg_train", "seg_dev", "seg_test"]))
    assert lines[2] == (
        "validate  split of the folders seg_train, seg_dev, seg_test: train 750, val 125, test 125"
    )
