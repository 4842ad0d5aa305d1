"""Figures of training and tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.io.reports.plots.canvas import BLUE, GRAY, ORANGE, saved_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Trials carry the name of their state in lower case, as in trials.csv: complete, pruned, fail.
_COMPLETE, _PRUNED = "complete", "pruned"


def history(epochs: Sequence[Mapping[str, float]], planned: int, path: Path) -> None:
    """Loss and accuracy per epoch, with the epoch that was kept.

    Args:
        epochs: in order, each with `epoch`, `train_loss`, `val_loss`, `val_accuracy`, and `best`,
            which is not 0 where the epoch was the best so far: the last such one was kept.
        planned: epochs of the schedule; more than there are where training stopped early.
        path: the PNG to write.
    """
    best = [e for e in epochs if e["best"]][-1]
    stopped = f" (stopped early, {planned} planned)" if len(epochs) < planned else ""
    title = (
        f"Best after epoch {best['epoch']:.0f} of {len(epochs)}{stopped}: val loss "
        f"{best['val_loss']:.3f}, val accuracy {best['val_accuracy']:.3f}."
    )
    at = [e["epoch"] for e in epochs]
    with saved_figure(path, 9, 3.8, title) as figure:
        left, right = figure.subplots(1, 2)
        for axes, key, color in (
            (left, "train_loss", ORANGE),
            (left, "val_loss", BLUE),
            (right, "val_accuracy", BLUE),
        ):
            label = key.replace("_", " ")
            axes.plot(at, [e[key] for e in epochs], color=color, marker=".", label=label)
        for axes in (left, right):
            axes.axvline(best["epoch"], color=GRAY, linestyle=":", label="kept")
            axes.set(xlabel="epoch")
            _count_in_integers(axes)
            axes.legend()


def study_history(trials: Sequence[tuple[int, float | None, str]], path: Path) -> None:
    """Val loss of each trial in order, and the best so far.

    Args:
        trials: (number, val loss, state); of a pruned trial the last loss seen, None if there is
            none.
        path: the PNG to write.
    """
    complete, pruned = (_with_value(trials, state) for state in (_COMPLETE, _PRUNED))
    others = len(trials) - len(complete) - len(pruned)
    counts = f"{len(complete)} complete, {len(pruned)} pruned, {others} without a result."
    best = min(complete, key=lambda trial: trial[1], default=None)
    found = f"Trial {best[0]} is the best, val loss {best[1]:.3f}" if best else "No best trial"
    with saved_figure(path, 7, 3.8, f"{found}: {counts}") as figure:
        axes = figure.subplots()
        if complete:
            numbers, values = zip(*complete, strict=True)
            best_so_far = [min(values[: i + 1]) for i in range(len(values))]
            axes.step(numbers, best_so_far, where="post", color=ORANGE, label="best so far")
            axes.scatter(numbers, values, color=BLUE, label="complete")
        if pruned:
            numbers, values = zip(*pruned, strict=True)
            axes.scatter(numbers, values, color=GRAY, marker="x", label="pruned, last value")
        axes.set(xlabel="trial", ylabel="val loss")
        _count_in_integers(axes)
        if complete or pruned:
            axes.legend()


def study_curves(
    trials: Sequence[tuple[int, Sequence[tuple[float, float]], str]], path: Path
) -> None:
    """Val loss of each trial along its own epochs: what the pruner saw.

    Args:
        trials: (number, points, state); a point is (percent of the trial's epochs, val loss).
        path: the PNG to write.
    """
    last = [(number, curve[-1][1] if curve else None, state) for number, curve, state in trials]
    ended = _with_value(last, _COMPLETE)
    best = min(ended, key=lambda trial: trial[1])[0] if ended else None
    pruned = sum(state == _PRUNED for _, _, state in trials)
    found = "No trial is complete" if best is None else f"Trial {best} ended lowest"
    title = f"{found}; {pruned} of {len(trials)} trials were stopped early (dashed)."
    with saved_figure(path, 7, 4.2, title) as figure:
        axes = figure.subplots()
        for number, curve, state in trials:
            _draw_curve(axes, number, curve, dashed=state == _PRUNED, best=number == best)
        axes.set(xlim=(0, 105), xlabel="percent of the trial's epochs", ylabel="val loss")


def _draw_curve(
    axes: Axes, number: int, curve: Sequence[tuple[float, float]], *, dashed: bool, best: bool
) -> None:
    if not curve:
        return
    at, losses = zip(*curve, strict=True)
    color = ORANGE if best else GRAY if dashed else BLUE
    width, style = 2.5 if best else 1.2, "--" if dashed else "-"
    axes.plot(at, losses, color=color, linestyle=style, linewidth=width, marker=".")
    end = (at[-1], losses[-1])
    axes.annotate(str(number), end, (5, 0), textcoords="offset points", color=GRAY, va="center")


def study_importance(importance: Mapping[str, float], trials: int, path: Path) -> None:
    """How much of the differences between trials each setting explains.

    Args:
        importance: setting -> share, 0 to 1; empty when too few trials are complete.
        trials: complete ones.
        path: the PNG to write.
    """
    ranked = sorted(importance.items(), key=lambda item: item[1])
    title = f"Too few complete trials ({trials}) to tell which setting matters."
    if ranked:
        name, share = ranked[-1]
        title = f"{name} explains {share:.0%} of the differences between {trials} trials."
    with saved_figure(path, 7, 1.6 + 0.4 * len(ranked), title) as figure:
        axes = figure.subplots()
        names = [shorten(name, 28) for name, _ in ranked]
        axes.barh(names, [share for _, share in ranked], color=BLUE, height=0.6)
        axes.set(xlim=(0, 1), xlabel="share of the variance of val loss")
        axes.grid(visible=False, axis="y")


def _with_value(
    trials: Sequence[tuple[int, float | None, str]], state: str
) -> list[tuple[int, float]]:
    """(number, value) of the trials in this state that have a value, by number."""
    return sorted(
        (number, value) for number, value, own in trials if own == state and value is not None
    )


def _count_in_integers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
