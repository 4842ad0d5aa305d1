from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from components.io.reports import plots

TRIALS = [
    (0, 0.7, "complete"),
    (1, 0.5, "complete"),
    (2, 0.9, "pruned"),
    (3, None, "fail"),
    (4, 0.6, "complete"),
]


def title_of(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


def epoch(index: int, val_loss: float, best: float) -> dict[str, float]:
    values = {"epoch": index, "train_loss": 0.5, "val_loss": val_loss, "val_accuracy": 0.75}
    return {**values, "best": best}


def test_history_marks_the_epoch_that_was_kept(tmp_path: Path, drawn: list[Figure]) -> None:
    epochs = [epoch(1, 0.9, 1.0), epoch(2, 0.4, 1.0), epoch(3, 0.6, 0.0)]

    plots.history(epochs, 3, tmp_path / "h.png")

    left = drawn[0].axes[0]
    assert title_of(drawn[0]) == "Best after epoch 2 of 3: val loss 0.400, val accuracy 0.750."
    lines = {str(line.get_label()): line for line in left.lines}
    assert np.allclose(lines["val loss"].get_ydata(), [0.9, 0.4, 0.6])
    assert np.allclose(lines["kept"].get_xdata(), 2)


def test_history_says_when_training_stopped_early(tmp_path: Path, drawn: list[Figure]) -> None:
    plots.history([epoch(1, 0.4, 1.0), epoch(2, 0.6, 0.0)], 9, tmp_path / "h.png")
    assert title_of(drawn[0]) == (
        "Best after epoch 1 of 2 (stopped early, 9 planned): val loss 0.400, val accuracy 0.750."
    )


def test_history_of_one_epoch_is_drawn(tmp_path: Path) -> None:
    plots.history([epoch(1, 0.9, 1.0)], 1, tmp_path / "h.png")

    with Image.open(tmp_path / "h.png") as image:
        assert image.format == "PNG"


def test_study_history_names_the_best_complete_trial_and_counts_all(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plots.study_history(TRIALS, tmp_path / "s.png")

    assert title_of(drawn[0]) == (
        "Trial 1 is the best, val loss 0.500: 3 complete, 1 pruned, 1 without a result."
    )
    (best_so_far,) = drawn[0].axes[0].lines
    assert np.allclose(best_so_far.get_ydata(), [0.7, 0.5, 0.5])


def test_study_history_of_a_pruned_trial_alone_has_no_best(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plots.study_history([(0, 0.1, "pruned")], tmp_path / "s.png")

    assert title_of(drawn[0]).startswith("No best trial: 0 complete, 1 pruned")


def test_study_curves_mark_the_lowest_end_of_a_complete_trial(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    curves = [
        (0, [(50.0, 0.2), (100.0, 0.6)], "complete"),
        (1, [(50.0, 0.5), (100.0, 0.5)], "complete"),
        (2, [(50.0, 0.4)], "pruned"),
        (3, [], "fail"),
    ]
    plots.study_curves(curves, tmp_path / "s.png")

    lines = drawn[0].axes[0].lines
    assert title_of(drawn[0]) == "Trial 1 ended lowest; 1 of 4 trials were stopped early (dashed)."
    assert len(lines) == 3
    assert lines[1].get_linewidth() > lines[0].get_linewidth()
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--"]


def test_importance_puts_the_decisive_setting_into_the_title(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plots.study_importance({"epochs": 0.2, "learning_rate": 0.8}, 12, tmp_path / "s.png")

    assert title_of(drawn[0]) == (
        "learning_rate explains 80% of the differences between 12 trials."
    )


def test_a_study_without_results_still_gets_its_figures(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plots.study_history([], tmp_path / "h.png")
    plots.study_curves([], tmp_path / "c.png")
    plots.study_importance({}, 2, tmp_path / "i.png")

    assert [title_of(figure).split()[0] for figure in drawn] == ["No", "No", "Too"]
