from collections.abc import Callable
from typing import Any

import pytest

from components.core.artifacts import (
    Check,
    Decision,
    Evaluation,
    ValidationReport,
    Verdict,
)
from components.io.tracking import version_page

Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]
Page = Callable[..., str]


def check(name: str, verdict: Verdict, reason: str, **changes: Any) -> Check:
    content = {"value": 0.7305, "wanted": ">= 0.700"} | changes
    return Check(name=name, verdict=verdict, reason=reason, **content)


@pytest.fixture
def page(evidence: Evidence) -> Page:
    """page(decision, names, confusion) -> Markdown."""

    def describe(
        decision: Decision,
        names: tuple[str, ...] = ("dent", "scratch"),
        confusion: Any = ((190, 10), (40, 93)),
    ) -> str:
        evaluation, report = evidence(list(names), [list(row) for row in confusion])
        return version_page.describe(
            decision,
            evaluation,
            report,
            lineage={"data": "d" * 64, "git": f"{'a' * 40}-dirty"},
            run_route="#/experiments/1/runs/2?workflowType=machine_learning",
            model_uri="models:/cells/3",
        )

    return describe


HOLD = Decision(
    verdict="hold",
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
    assert page(Decision(verdict=verdict, checks=[])).startswith(words)


def test_a_small_model_has_this_page(page: Page) -> None:
    assert (
        page(HOLD)
        == """\
HOLD 0.778 accuracy on 333 test images (95 %: 0.731 to 0.819)

| check | value | wanted | verdict |
|---|---|---|---|
| accuracy &nbsp; | 0.731 &nbsp; | >= 0.700 &nbsp; | HOLD |
| images &nbsp; | 1,333 &nbsp; | >= 200 &nbsp; | PASS |
| evidence &nbsp; |  &nbsp; | complete &nbsp; | PASS |

- accuracy is low

Weakest class: scratch, recall 0.699 (93 of 133). \
Most frequent mistake: scratch taken for dent (40).

Data: 3,000 of 3,100 files used, 2 classes (train 2,000, val 400, test 600); 60 quarantined.

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
    text = page(Decision(verdict="hold", checks=reasons), tuple(names), matrix)
    assert len(text) <= 4_500
    assert text.endswith('base64>"])`')


def test_no_page_is_longer_than_the_limit(page: Page) -> None:
    checks = [check(f"check {k}", "hold", "r" * 500) for k in range(100)]
    assert len(page(Decision(verdict="hold", checks=checks))) == 4_500
