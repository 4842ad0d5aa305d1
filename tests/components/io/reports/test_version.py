from collections.abc import Callable
from typing import Any, Literal

import pytest

from components.core.artifacts import Evaluation, ValidationReport
from components.core.data.data_diff import DataDiff, ShareShift
from components.core.gate.policy import Verdict
from components.core.gate.record import Check, Decision, DecisionRecord
from components.io.reports import version as version_page
from components.io.reports.version import Changes
from tests.components.conftest import LENIENT, first_model

Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]
Page = Callable[..., str]

NO_BASELINE = DataDiff(
    baseline="", unchanged=0, added=0, removed=0, relabeled=0, moved=0, largest_shift=None,
    examples={},
)  # fmt: skip


def check(name: str, verdict: Verdict | Literal["warn"], reason: str, **changes: Any) -> Check:
    content = {"value": 0.7305, "wanted": ">= 0.700"} | changes
    return Check(name=name, verdict=verdict, reason=reason, **content)


@pytest.fixture
def page(evidence: Evidence) -> Page:
    """page(decision, names, confusion, diff, changes) -> Markdown."""

    def describe(
        decision: Decision,
        names: tuple[str, ...] = ("dent", "scratch"),
        confusion: Any = ((190, 10), (40, 93)),
        diff: DataDiff = NO_BASELINE,
        changes: Changes | None = None,
    ) -> str:
        evaluation, report = evidence(list(names), [list(row) for row in confusion])
        judged = first_model(evaluation, list(names))
        if changes:
            champion = {"state": "compared", "model_digest": "c" * 64}
            compared = judged.champion.model_copy(update=champion)
            judged = judged.model_copy(update={"champion": compared})
        receipt = DecisionRecord(
            decision=decision,
            policy=LENIENT,
            evidence=judged,
            data_diff=diff,
            model_name="cells",
            version="3",
        )
        return version_page.describe(
            receipt,
            evaluation,
            report,
            changes or Changes(0, 0),
            lineage={"data": "d" * 64, "git": f"{'a' * 40}-dirty"},
            run_route="#/experiments/1/runs/2?workflowType=machine_learning",
        )

    return describe


HOLD = Decision(
    verdict="hold",
    first_model=True,
    checks=[
        check("accuracy", "hold", "accuracy is low"),
        check("images", "promote", "enough", value=1333, wanted=">= 200"),
        check("evidence", "promote", "fine", value=None, wanted="complete"),
    ],
)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("promote", "PASS 0.778 "), ("hold", "HOLD 0.778 "), ("error", "ERROR 0.778 ")],
)
def test_the_first_words_are_verdict_and_accuracy(verdict: Verdict, words: str, page: Page) -> None:
    assert page(Decision(verdict=verdict, first_model=True, checks=[])).startswith(words)


def test_a_small_model_has_this_page(page: Page) -> None:
    assert (
        page(HOLD)
        == """\
HOLD 0.778 accuracy on 333 test images (95 %: 0.731 to 0.819)

- accuracy is low

| check | value | wanted | verdict |
|---|---|---|---|
| accuracy &nbsp; | 0.731 &nbsp; | >= 0.700 &nbsp; | HOLD |
| images &nbsp; | 1,333 &nbsp; | >= 200 &nbsp; | PASS |
| evidence &nbsp; |  &nbsp; | complete &nbsp; | PASS |

To approve: `python -m pipeline approve 3 --reason "..."`, or set the tag `review` of this version \
to `approved` and run `python -m pipeline sync`.

Weakest class: scratch, recall 0.699 (93 of 133). \
Most frequent mistake: scratch taken for dent (40).

Data: 3,000 of 3,100 files used, 2 classes (train 2,000, val 400, test 600); 60 quarantined. \
No champion's data to compare with.

Made from: data `dddddddddddd`, git `aaaaaaaaaaaa-dirty`. \
[Training run](#/experiments/1/runs/2?workflowType=machine_learning)

Use: `mlflow.pyfunc.load_model("models:/cells/3").predict(["<image file in base64>"])`"""
    )


def test_without_mistakes_none_is_named(page: Page) -> None:
    assert "mistake" not in page(HOLD, confusion=((5, 0), (0, 5)))


def test_without_test_images_no_class_is_the_weakest(page: Page) -> None:
    assert "Weakest" not in page(HOLD, confusion=((0, 0), (0, 0)))


def test_a_class_without_test_images_is_not_the_weakest(page: Page) -> None:
    assert "class: scratch," in page(HOLD, confusion=((0, 0), (3, 5)))


def test_names_cannot_break_the_page(page: Page) -> None:
    text = page(HOLD, ("a|b\n# `x` [link](http://x) <b>", "ok"), ((1, 2), (0, 5)))
    assert "Weakest class: a b # x link (http://x) b, recall" in text


def test_a_thousand_classes_with_long_names_fit(page: Page) -> None:
    names = [f"{k} {'name ' * 50}" for k in range(1_000)]
    matrix = [[1] * 1_000 for _ in names]
    reasons = [check(f"check {k}", "hold", f"{names[k]} " * 20) for k in range(12)]
    text = page(Decision(verdict="hold", first_model=True, checks=reasons), tuple(names), matrix)
    assert len(text) <= 4_500
    assert text.endswith('base64>"])`')


def test_what_changed_against_the_champion_is_said(page: Page) -> None:
    shift = ShareShift(name="dent", before=0.25, now=0.4)
    diff = NO_BASELINE.model_copy(
        update={"baseline": "b" * 64, "added": 1200, "moved": 3, "largest_shift": shift}
    )
    text = page(HOLD, diff=diff, changes=Changes(newly_wrong=4, newly_right=11))
    assert "Against the champion `cccccccccccc`: 11 test images newly right, 4 newly wrong." in text
    assert (
        "Since the champion's data: 1,200 added, 3 moved between splits; dent was 25.0% of the "
        "images, is 40.0%."
    ) in text


def test_equal_data_are_said_to_be_equal(page: Page) -> None:
    same = NO_BASELINE.model_copy(update={"baseline": "b" * 64, "unchanged": 7})
    assert "Since the champion's data: nothing changed." in page(HOLD, diff=same)


@pytest.mark.parametrize("verdict", ["promote", "error"])
def test_only_what_is_held_can_be_approved(verdict: Verdict, page: Page) -> None:
    text = page(HOLD.model_copy(update={"verdict": verdict}))
    assert "approve" not in text


@pytest.mark.parametrize(
    ("value", "wanted", "shown"),
    [
        (0.0832, "<= 0.1", "0.083"),
        (0.91249, ">= 0.9125", "0.9125"),
        (1333.0, ">= 200", "1,333"),
        (44.78, "<= 100", "44.780"),
        (0.9174, "accuracy <= 0.999, gain <= 0.25", "0.917"),
        (None, "complete", ""),
    ],
)
def test_values_have_the_digits_that_matter(value: float | None, wanted: str, shown: str) -> None:
    assert version_page.shown(check("x", "hold", "", value=value, wanted=wanted)) == shown


def test_no_page_is_longer_than_the_limit(page: Page) -> None:
    checks = [check(f"check {k}", "hold", "r" * 500) for k in range(100)]
    assert len(page(Decision(verdict="hold", first_model=True, checks=checks))) == 4_500
