import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.core.artifacts import ClassMetrics
from components.core.evaluation.metrics import Bin, class_metrics
from components.io.reports.plots import predictions as plots

STRANGE = ["$cost_{x}$", "a\nb", "\u7f3a\u9677", "long " * 60, "50% & <b>"]


def names_on(axes: Axes, side: str) -> list[str]:
    labels = axes.get_xticklabels() if side == "x" else axes.get_yticklabels()
    return [label.get_text() for label in labels]


def title_of(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


def sample(true: str, predicted: str, path: str = "a/b.png") -> plots.Sample:
    return plots.Sample(np.full((8, 8, 3), 99, np.uint8), path, true, predicted, 0.87)


def test_confusion_names_the_worst_pair_and_puts_true_classes_in_rows(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plots.confusion(np.array([[5, 3], [1, 9]]), ["bad", "good"], tmp_path / "c.png")

    axes = drawn[0].axes[0]
    assert title_of(drawn[0]) == "Most frequent mistake: 3 of 8 'bad' predicted as 'good' (n=18)."
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [t.get_text() for t in axes.texts] == ["5\n62%", "3\n38%", "1\n10%", "9\n90%"]


def test_confusion_without_mistakes_says_so(tmp_path: Path, drawn: list[Figure]) -> None:
    plots.confusion(np.diag([5, 0, 9]), ["a", "b", "c"], tmp_path / "c.png")

    assert title_of(drawn[0]) == "No mistake on 14 images."


def test_of_many_classes_the_most_confused_are_shown_and_rows_still_add_up(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    matrix = np.diag(np.full(120, 10))
    matrix[70, 90], matrix[3, 100] = 8, 7
    matrix[70, 0] = 1

    plots.confusion(matrix, [f"class {k}" for k in range(120)], tmp_path / "c.png")

    figure = drawn[0]
    shown = names_on(figure.axes[0], "y")
    assert "8 of 19 'class 70' predicted as 'class 90'" in title_of(figure)
    assert "the 20 of 120 most confused classes" in title_of(figure)
    assert len(shown) == 20
    assert {"class 3", "class 70", "class 90", "class 100"} <= set(shown)
    assert names_on(figure.axes[0], "x") == [*shown, "(any other)"]
    counts = [int(t.get_text()) for t in figure.axes[0].texts]
    assert sum(counts) == 20 * 10 + 8 + 7 + 1


def test_weakest_class_is_on_top_and_in_the_title(tmp_path: Path, drawn: list[Figure]) -> None:
    matrix = np.array([[9, 1, 0, 0], [2, 6, 0, 0], [0, 0, 0, 0], [3, 0, 0, 1]])

    plots.per_class(class_metrics(matrix, ["a", "b", "empty", "d"]), tmp_path / "p.png")

    axes = drawn[0].axes[0]
    assert title_of(drawn[0]) == "Weakest class: 1 of 4 'd', recall 0.25 (n=22)."
    assert names_on(axes, "y") == ["d (n=4)", "b (n=8)", "a (n=10)"]
    assert axes.yaxis_inverted()


def test_of_many_classes_the_lowest_twenty_are_shown(tmp_path: Path, drawn: list[Figure]) -> None:
    classes = [
        ClassMetrics(name=f"c{k}", precision=0.5, recall=k / 100, f1=0.5, support=9)
        for k in range(100)
    ]
    plots.per_class(classes, tmp_path / "p.png")

    assert "Shown: the 20 lowest of 100 classes." in title_of(drawn[0])
    assert names_on(drawn[0].axes[0], "y") == [f"c{k} (n=9)" for k in range(20)]


def test_reliability_gives_the_error_before_and_after(tmp_path: Path, drawn: list[Figure]) -> None:
    after = [Bin(0.5, 0.75, 10, 0.6, 0.5), Bin(0.75, 1.0, 30, 0.9, 0.9)]
    before = [Bin(0.75, 1.0, 40, 0.9, 0.8)]

    plots.reliability(after, before, tmp_path / "r.png")

    assert title_of(drawn[0]) == (
        "Expected calibration error (ECE) 0.025, 0.100 before temperature scaling (n=40)."
    )
    heights = [bar.get_height() for bar in drawn[0].axes[1].patches]  # type: ignore[attr-defined]
    assert heights == [10, 30]


@pytest.mark.parametrize("count", [1, 7, 41])
def test_the_sheet_of_losses_tells_wrong_from_right(
    tmp_path: Path, drawn: list[Figure], count: int
) -> None:
    samples = [sample("a", "b"), *[sample("a", "a", "x/" * 40)] * (count - 1)]

    plots.top_losses(samples, 333, tmp_path / "t.png")

    axes = drawn[0].axes[0]
    assert f"1 of {count} are misclassified" in title_of(drawn[0])
    assert "(n=333)" in title_of(drawn[0])
    assert len(axes.images) == count
    assert axes.texts[1].get_text() == "pred: b 87%"
    if count > 1:
        assert axes.texts[1].get_color() != axes.texts[5].get_color()


def test_names_of_any_kind_are_drawn_as_they_are_without_warnings(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    matrix = np.full((5, 5), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.confusion(matrix, STRANGE, tmp_path / "c.png")
        plots.per_class(class_metrics(matrix, STRANGE), tmp_path / "p.png")
        plots.top_losses([sample(n, n, n) for n in STRANGE], 9, tmp_path / "t.png")

    labels = names_on(drawn[0].axes[0], "y")
    assert labels[:2] == ["$cost_{x}$", "a?b"]
    assert len(labels[3]) == 28


def test_equal_numbers_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        plots.confusion(np.array([[5, 3], [1, 9]]), ["a", "b"], folder / "c.png")
        plots.top_losses([sample("a", "b")], 9, folder / "t.png")

    for name in ("c.png", "t.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
