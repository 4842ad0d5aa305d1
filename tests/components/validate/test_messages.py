"""What a person reads: honest levels, one line for a refusal, a few for a pass."""

from components.core.artifacts import RuleResult, Split, ValidationReport
from components.io.reports.pages import Problem
from components.validate.expectations import Outcome
from components.validate.messages import passes, refusal, summary, to_csv, to_results
from components.validate.rules import Rule, ValidateParams

PARAMS = ValidateParams(
    exclude=[],
    group_pattern=None,
    near_duplicate_bits=11,
    near_duplicate_likeness=0.7,
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


def result(success: bool, level: str = "error", name: str = "max_aspect_ratio") -> RuleResult:
    values = {"rule": name, "level": level, "success": success, "found": "x", "wanted": "y"}
    return RuleResult.model_validate(values | {"files": []})


def test_a_tolerated_rule_warns() -> None:
    outcome = Outcome(False, 4, {"a.png": "wide"})
    (found,) = to_results([ASPECT], {"max_aspect_ratio": outcome}, PARAMS, [])
    assert (found.level, found.found, found.files) == ("warn", "1 of 4 files", ["a.png"])
    assert passes([found])


def test_a_tolerated_rule_that_could_not_be_judged_blocks() -> None:
    outcome = Outcome(False, 4, fault="was not evaluated")
    (found,) = to_results([ASPECT], {"max_aspect_ratio": outcome}, PARAMS, [])
    assert (found.level, found.found) == ("error", "a rule that was not evaluated")
    assert not passes([found])


def test_only_failed_errors_block() -> None:
    assert passes([result(True), result(False, "warn")])
    assert not passes([result(True), result(False)])


def report(rules: list[RuleResult], success: bool) -> ValidationReport:
    return ValidationReport(
        success=success,
        data_digest="",
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
        pinned=0,
        rules=rules,
    )


def test_a_pass_is_told_in_five_lines() -> None:
    rules = [result(True), result(False, "warn")]
    assert list(summary(report(rules, True))) == [
        "validate  1,010 files = 1,000 used + 2 quarantined + 8 ignored (3 duplicates)",
        "validate  2 classes: dog has 200 images, cat 800",
        "validate  split into train 750, val 125, test 125",
        "validate  900 groups, the largest of 4; 7 images with look-alikes",
        "validate  1 rules passed; warning: max_aspect_ratio, found x",
    ]


def test_classes_of_equal_size_are_not_compared() -> None:
    even: dict[Split, int] = {"train": 40, "val": 5, "test": 5}
    found = report([result(True)], True).model_copy(update={"counts": {"a": even, "b": even}})
    assert list(summary(found))[1] == "validate  2 classes: 50 images each"


def test_pinned_images_are_counted() -> None:
    pinned = report([result(True)], True).model_copy(update={"pinned": 990})
    assert list(summary(pinned))[2].endswith("split into train 750, val 125, test 125; 990 pinned")


def test_a_refusal_starts_with_the_first_rule_that_blocks() -> None:
    rules = [result(True), result(False, "warn"), result(False, "error", "names")]
    rules.append(result(False, "error", "min_side"))
    rules[2] = rules[2].model_copy(update={"files": ["a", "b", "c", "d"]})
    problems = [Problem(name, "odd", "names") for name in "abcd"] + [Problem("e", "", "min_side")]
    assert refusal(report(rules, False), problems) == (
        "rule names: found x; wanted y. a: odd; b: odd; c: odd and 1 more. Also failed: min_side."
    )


def test_the_list_survives_commas_and_quotes() -> None:
    text = to_csv([Problem('a,"b".png', "zero bytes", "max_unreadable")])
    assert text == 'path,reason,rule\n"a,""b"".png",zero bytes,max_unreadable\n'
