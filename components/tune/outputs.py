"""What tune leaves for people: the table of trials, figures with their values, a line."""

from __future__ import annotations

from pathlib import Path

from components.core.artifacts import Hyperparameters
from components.io import files
from components.io.reports import plots
from components.tune import search
from components.tune.trial import share_of_schedule
from components.tune.trial_queue import TrialQueue, reason


def summarize(best: Hyperparameters) -> str:
    """The best trial and how many there were, in one line."""
    flip = "horizontal flip" if best.horizontal_flip else "no horizontal flip"
    finished = best.trials_complete + best.trials_pruned + best.trials_failed
    return (
        f"best of {finished}: learning rate {best.learning_rate:.2g}, "
        f"{best.epochs} epochs, {flip}, val/loss {best.val_loss:.3f}{_gain(best)} "
        f"({best.trials_complete} complete, {best.trials_pruned} pruned, "
        f"{best.trials_failed} failed)"
    )


def _gain(best: Hyperparameters) -> str:
    """What the search was worth: the first trial has the settings that nobody need search for."""
    if best.preset_val_loss is None:
        return ""
    if best.preset_val_loss == best.val_loss:
        return ", the preset's own settings"
    return f", with the preset's settings {best.preset_val_loss:.3f}"


def write_trials(path: Path, queue: TrialQueue) -> None:
    """Write trials.csv, one row per trial that was started."""
    rows = []
    for trial in queue.started():
        settings = [trial.params.get(name, "") for name in ("learning_rate", "epochs")]
        settings.append(str(trial.user_attrs.get("horizontal_flip", "")).lower())
        value = "" if trial.value is None else f"{trial.value:.6f}"
        start = [trial.number, trial.user_attrs["worker"], trial.state.name.lower()]
        rows.append([*start, *settings, value, reason(trial)])
    names = "trial worker state learning_rate epochs horizontal_flip val_loss reason"
    files.write_csv(path, names.split(), rows)


def draw(folder: Path, queue: TrialQueue) -> None:
    """History, curves by share of schedule, and the importance of the two settings."""
    trials = queue.started()
    plots.study_history(
        [(t.number, t.value, t.state.name.lower()) for t in trials], folder / "history.png"
    )
    curves = [(t.number, share_of_schedule(t), t.state.name.lower()) for t in trials]
    plots.study_curves(curves, folder / "intermediate.png")
    rows = ((number, *point) for number, curve, _ in curves for point in curve)
    files.write_csv(folder / "curves.csv", ("trial", "percent", "val_loss"), rows)
    importance = search.importance(queue)
    plots.study_importance(importance, len(queue.complete()), folder / "importance.png")
    files.write_csv(folder / "importance.csv", ("setting", "share"), importance.items())
