"""What people see of a run in MLflow's lists and on its page."""

from __future__ import annotations

from pathlib import Path

from components.tracking.runs import Run

# MLflow shows this tag as the description of a run; its column holds 5,000 characters.
_NOTE, _NOTE_CHARACTERS = "mlflow.note.content", 4500


def describe(run: Run, text: str, *, name: str = "") -> None:
    """Give the run a description, in Markdown, and another name.

    Args:
        run: an open one.
        text: cut after 4,500 characters.
        name: in the list of runs; empty = as it is.
    """
    run.tags({_NOTE: text[:_NOTE_CHARACTERS]})
    if name:
        run.store.patiently(run.store.client.update_run, run.id, name=name)


def origin(run: Run) -> dict[str, str]:
    """Where a result comes from, in words: the lineage of the run, and the run."""
    return {**run.lineage, "MLflow run": run.link}


def log_folder(run: Run, folder: Path, name: str) -> None:
    """Copy the files of a folder, not of those in it, into the run's artifacts as folder `name`."""
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        run.file(file, name)
