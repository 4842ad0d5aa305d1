"""The steps as kfp components: each is its source text, sent along inside the compiled pipeline.

So a component imports what it calls, and annotations here must not be postponed. Those that work
in the folder of a run have:

    workspace      folder of the run: a volume of its own, or a folder of the standing one
    layout         checkout, outputs, shared: where things are, see `task.Layout`
    data_digest    from validate; the digest travels between steps, the data does not
    <sections>     of params.yaml, as JSON
"""

from typing import NamedTuple

from kfp import dsl


def fetch(
    workspace: str,
    layout: dict[str, str],
    repository: str,
    revision: str,
    data_hash: str,
    keep_days: int,
) -> None:
    """Check out the pinned revision, pull its images, verify both."""
    from pipeline.kubeflow import task

    where = task.read_layout(workspace, layout)
    task.run_fetch(where, repository, revision, data_hash, int(keep_days))


def fetch_branch(
    workspace: str, layout: dict[str, str], repository: str, branch: str, keep_days: int
) -> NamedTuple(  # type: ignore[valid-type]
    "Tip",
    [
        ("new", str),
        ("revision", str),
        ("data_hash", str),
        ("data", str),
        ("model", str),
        ("validate", str),
        ("training", str),
        ("tune", str),
        ("train", str),
        ("evaluate", str),
        ("register", str),
    ],
):
    """Check out the tip of a branch, and pull its images unless the same was run before."""
    from pipeline.kubeflow import task
    from pipeline.kubeflow.branch import SECTIONS

    where = task.read_layout(workspace, layout)
    new, tip = task.run_fetch_branch(where, repository, branch, int(keep_days))
    settings = [tip.sections[name] for name in SECTIONS]
    return (new, tip.revision, tip.data_hash, *settings)


def validate(
    workspace: str,
    layout: dict[str, str],
    data: str,
    validate: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> str:
    """Check every image, split the data set; returns the data digest."""
    from pipeline.kubeflow import run_pages, task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "validate": validate}
    folder = task.run_step("validate", where, sections)
    run_pages.write_page("validate", folder, metrics, summary.path, page.path)
    return task.data_digest(folder)


def tune(
    workspace: str,
    layout: dict[str, str],
    data_digest: str,
    data: str,
    model: str,
    training: str,
    tune: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Search learning rate and epochs on train and val."""
    from pipeline.kubeflow import run_pages, task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "model": model, "training": training, "tune": tune}
    folder = task.run_step("tune", where, sections, data_digest)
    run_pages.write_page("tune", folder, metrics, summary.path, page.path)


def tune_worker(
    workspace: str,
    layout: dict[str, str],
    data: str,
    model: str,
    training: str,
    tune: str,
    worker: int,
) -> None:
    """Run trials for tune, on a GPU of its own."""
    from pipeline.kubeflow import task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "model": model, "training": training, "tune": tune}
    task.run_worker(where, sections, int(worker))


def train(
    workspace: str,
    layout: dict[str, str],
    data_digest: str,
    data: str,
    model: str,
    training: str,
    train: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Train the final model, keep its best epoch, calibrate it."""
    from pipeline.kubeflow import run_pages, task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "model": model, "training": training, "train": train}
    folder = task.run_step("train", where, sections, data_digest)
    run_pages.write_page("train", folder, metrics, summary.path, page.path)


def evaluate(
    workspace: str,
    layout: dict[str, str],
    data_digest: str,
    data: str,
    training: str,
    evaluate: str,
    metrics: dsl.Output[dsl.Metrics],
    curves: dsl.Output[dsl.ClassificationMetrics],
    summary: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Measure the model on the untouched test split."""
    from pipeline.kubeflow import run_pages, task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "training": training, "evaluate": evaluate}
    folder = task.run_step("evaluate", where, sections, data_digest)
    run_pages.write_page("evaluate", folder, metrics, summary.path, page.path)
    run_pages.log_curves(folder, curves)


def register(
    workspace: str,
    layout: dict[str, str],
    data_digest: str,
    data: str,
    training: str,
    register: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> str:
    """Decide, and register the version; returns the verdict."""
    from pipeline.kubeflow import run_pages, task

    where = task.read_layout(workspace, layout)
    sections = {"data": data, "training": training, "register": register}
    folder = task.run_step("register", where, sections, data_digest)
    run_pages.write_page("register", folder, metrics, summary.path, page.path)
    return task.verdict(folder)


def note_branch(
    branch: str,
    revision: str,
    data_hash: str,
    data: str,
    training: str,
    register: str,
) -> None:
    """Note that the tip of the branch has its verdict."""
    from pipeline.kubeflow import task
    from pipeline.kubeflow.branch import Tip

    sections = {"data": data, "training": training, "register": register}
    task.run_note_branch(Tip(branch, revision, data_hash, sections))


STEPS = (validate, tune, train, evaluate, register)
OTHERS = (fetch, fetch_branch, tune_worker, note_branch)
