"""The Markdown of a version in MLflow: verdict first, nothing that breaks it, never too long."""

from typing import Any

import pytest

from components.core.evaluation.changes import Change
from components.io.reports.version import describe_version
from tests import factories
from tests.components.io.reports.conftest import summary_of
from tests.factories import champion_evidence, data_diff, evidence, outcome


def page(verdict: str = "blocked", **changes: Any) -> str:
    """Of a version 3 of `cells`; `changes` go to `summary_of`."""
    return describe_version(
        summary_of(verdict, **changes),
        factories.validation_report(data_digest="d" * 64),
        uri="models:/cells/3",
        lineage={"data": "d" * 64, "git": f"{'a' * 40}-dirty"},
        run_route="#/experiments/1/runs/2?workflowType=machine_learning",
    )


BLOCKED = outcome(
    "blocked",
    checks=[
        factories.check("accuracy", "fail", message="accuracy is low"),
        factories.check("test images", value=1333, threshold=">= 200"),
        factories.check("latency", "skipped", value=None, threshold="no bound"),
        factories.check("evidence", value=None, threshold="complete"),
    ],
)


@pytest.mark.parametrize("verdict", ["passed", "blocked", "error"])
def test_the_first_words_are_verdict_and_accuracy(verdict: str) -> None:
    assert page(verdict).startswith(f"{verdict} 0.778 ")


def test_a_small_model_has_this_page() -> None:
    assert (
        page(outcome=BLOCKED)
        == """\
blocked 0.778 accuracy on 333 test images (95 %: 0.730 to 0.819)

- accuracy is low

| check | value | threshold | status |
|---|---|---|---|
| accuracy &nbsp; | 0.731 &nbsp; | >= 0.700 &nbsp; | fail |
| test images &nbsp; | 1,333 &nbsp; | >= 200 &nbsp; | pass |
| latency &nbsp; |  &nbsp; | no bound &nbsp; | skipped |
| evidence &nbsp; |  &nbsp; | complete &nbsp; | pass |

A person decides: run one of these, or set the tag `review` of this version to `approved` or \
`rejected`, its tag `review.reason` to why, and run `python -m pipeline sync`.

- `python -m pipeline approve 3 --reason "..."`
- `python -m pipeline reject 3 --reason "..."`

Weakest class: scratch, recall 0.699 (93 of 133). \
Most frequent mistake: scratch predicted as dent (40).

There is no champion yet: nothing to compare with.

Data: 3,000 of 3,100 files used, 2 classes (train 2,000, val 400, test 600); 60 quarantined. \
No champion's data to compare with.

Made from: data `dddddddddddd`, git `aaaaaaaaaaaa-dirty`. \
[Training run](#/experiments/1/runs/2?workflowType=machine_learning), \
[its report](#/experiments/1/runs/2/artifacts/report/index.html?workflowType=machine_learning)

Use: `mlflow.pyfunc.load_model("models:/cells/3").predict(["<image file in base64>"])`"""
    )


def test_names_cannot_break_the_page() -> None:
    names = ("a|b\n# `x` [link](http://x) <b>", "ok")
    text = page(class_names=names, confusion=((1, 2), (0, 5)))
    shown = r"a\|b \# \`x\` \[link\](http://x) &lt;b\>"
    assert f"Weakest class: {shown}, recall" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("group_A", r"group\_A"),
        ("a*b**c", r"a\*b\*\*c"),
        ("R&amp;D", "R&amp;amp;D"),
        ("C:\\x", r"C:\\x"),
        ("~old~ {1}", r"\~old\~ \{1\}"),
        ("Gr\u00fcn-1.5 (neu)!", "Gr\u00fcn-1.5 (neu)!"),
    ],
)
def test_a_name_is_shown_as_it_is(name: str, shown: str) -> None:
    text = page(class_names=(name, "ok"), confusion=((1, 2), (0, 5)))
    assert f"Weakest class: {shown}, recall" in text


def test_no_escape_is_cut_in_two() -> None:
    for length in range(70, 90):
        text = page(class_names=("_" * length, "ok"), confusion=((1, 2), (0, 5)))
        line = next(line for line in text.splitlines() if line.startswith("Weakest"))
        assert len(line) <= 300
        assert line.replace(r"\_", "").count("_") == 0
        assert not line.removesuffix("...").endswith("\\")


def test_hundreds_of_classes_with_long_names_fit() -> None:
    names = [f"{k} {'name ' * 50}" for k in range(300)]
    matrix = [[1] * 300 for _ in names]
    checks = [factories.check(f"check {k}", "fail", message=f"{names[k]} " * 20) for k in range(12)]
    text = page(outcome=outcome("blocked", checks=checks), class_names=names, confusion=matrix)
    assert len(text) <= 4_500
    assert text.endswith('base64>"])`')


def test_what_changed_against_the_champion_is_stated() -> None:
    shift = {"name": "dent", "before": 0.25, "now": 0.4}
    diff = data_diff(baseline="b" * 64, added=1200, moved=3, largest_shift=shift)
    changes = [Change("newly wrong", "a.png", "dent", "dent", "scratch", 0.5)]
    compared = evidence(champion=champion_evidence("compared"))
    text = page(data_diff=diff, evidence=compared, changes=changes)
    assert "Against the champion cccccccccccc on the same test images: 0 newly right, 1 " in text
    assert (
        "Since the champion's data: 1,200 added, 3 moved between splits; dent was 25.0% of the "
        "images, is 40.0%."
    ) in text


@pytest.mark.parametrize("verdict", ["passed", "error"])
def test_only_what_is_blocked_can_be_approved(verdict: str) -> None:
    assert "pipeline approve" not in page(verdict)


def test_no_page_is_longer_than_the_limit() -> None:
    checks = [factories.check(f"check {k}", "fail", message="r" * 500) for k in range(100)]
    assert len(page(outcome=outcome("blocked", checks=checks))) == 4_500
