"""Train the final model with the tuned settings, keep its best epoch, calibrate it on val.

Reads images, manifest.parquet, report.json, hyperparameters.json.
Writes the model folder, history.csv and history.png. A checkpoint after every epoch makes a killed
run continue where it was: run the same command again.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.artifacts import Hyperparameters
from components.core.data.decoding import DataParams
from components.core.errors import Interrupted
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingParams
from components.io import checkpoints, files, models, process
from components.io.data.dataset import DataPaths, Dataset, open_dataset, require_same_data
from components.io.data.timed_images import TimedImages
from components.io.progress import Progress
from components.io.reports import plots
from components.train import outputs
from components.train.key import CODE as CODE  # read as that of the step
from components.train.key import resolve, training_key
from components.train.outputs import Job
from components.train.ranks import Rank, count_ranks, launch

if TYPE_CHECKING:
    from components.core.training.loop import State
    from components.core.training.parallel import ProcessGroup


class TrainParams(BaseModel):
    """Section `train` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Literal["tuned"] | Annotated[float, Field(ge=1e-6, le=1e-1)] = Field(
        description="Highest learning rate of the schedule; tuned = the best trial's."
    )
    epochs: Literal["tuned"] | Annotated[int, Field(ge=1, le=50)] = Field(
        description="Length of the schedule; tuned = the best trial's."
    )
    early_stopping: int = Field(
        ge=1,
        le=50,
        description="Stop after so many epochs without a lower val loss, counted from the middle "
        "of the schedule on.",
    )


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads."""

    data: DataParams
    model: ModelParams
    training: TrainingParams
    train: TrainParams


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    hyperparameters: Annotated[Path, "those of the best trial"] = Path(
        "artifacts/tune/hyperparameters.json"
    )
    checkpoint: Annotated[Path, "state of an unfinished training; removed at the end"] = Path(
        "artifacts/train/checkpoint.bin"
    )
    model: Annotated[Path, "folder to write: weights and card"] = Path("artifacts/train/model")
    history: Annotated[Path, "CSV to write, one row per epoch"] = Path(
        "artifacts/train/history.csv"
    )
    plot: Annotated[Path, "PNG to write, the same curves"] = Path("artifacts/train/history.png")


def run(paths: Paths, params: Params) -> None:
    """Train; write the model folder, its curves as CSV and as a figure.

    On a machine with several GPUs each has a process of its own, if the batch is large enough.
    """
    job = _open(paths, params)
    size = count_ranks(job.config, len(job.dataset.splits["val"].labels))
    if size > 1:
        print(f"train     {size} GPUs: each has a share of every batch", flush=True)
        return launch(_run_rank, size, paths, params)
    from components.core.training.parallel import ProcessGroup

    return _run(job, paths, params, ProcessGroup())


def _run_rank(rank: Rank, paths: Paths, params: Params) -> None:
    """What each of several processes does: all train, the first one also saves and reports."""
    job = _open(paths, params)
    from components.train.process_group import DistributedGroup

    group = DistributedGroup(rank, job.config.device)
    if group.rank == 0:
        return _run(job, paths, params, group)
    return _follow(job, paths.checkpoint, group)


def _open(paths: Paths, params: Params) -> Job:
    process.configure()
    process.choose_kernels(deterministic=params.training.deterministic)
    tuned = files.read_artifact(paths.hyperparameters, Hyperparameters)
    dataset = open_dataset(paths, params.data, params.model.image_size, ("train", "val"))
    require_same_data(paths.hyperparameters, tuned.data_digest, dataset.digest, "tune")
    return _prepare(dataset, tuned, params)


def _run(job: Job, paths: Paths, params: Params, group: ProcessGroup) -> None:
    config, preset = job.config, f"{job.preset.tier} ({job.preset.reason})"
    print(
        f"train     {preset}: learning rate {config.learning_rate:.2g}, {config.epochs} epochs, "
        f"batch {config.batch_size}, {config.augmentation} augmentation, "
        f"{config.device} {config.precision}",
        flush=True,
    )
    name = f"{params.model.architecture}-{job.key[:8]}"
    with tracking.opened_aside(_open_run(job, name, preset, group.size)) as deferred:
        state, history = _train(job, paths.checkpoint, deferred, group)
        mlflow_run = deferred.get()
        _log(mlflow_run, history)
        outputs.report(job, state, history, mlflow_run)
        outputs.write_model(paths.model, job, state, params)
        outputs.write_history(paths.history, history)
        plots.history(history, config.epochs, paths.plot)
        for file in (paths.history, paths.plot):
            mlflow_run.file(file, "train")
    checkpoints.remove(paths.checkpoint)


@contextmanager
def _open_run(job: Job, name: str, preset: str, processes: int) -> Iterator[tracking.Run]:
    """The run in MLflow, with what is known before training."""
    tags = {"data": job.dataset.digest, "study": job.tuned.study, "processes": str(processes)}
    tags |= process.hardware_facts(job.config.device)
    with tracking.open_run(kind="model", name=name, key=job.key, tags=tags) as mlflow_run:
        mlflow_run.params({**asdict(job.config), "preset": preset})
        mlflow_run.dataset(name="train", digest=job.dataset.digest, context="training")
        yield mlflow_run


def _log(mlflow_run: tracking.Run, history: list[dict[str, float]]) -> None:
    """The curves so far: MLflow may lack what a kill or an outage kept from it, and no more."""
    for row in history:
        outputs.log_epoch(row, mlflow_run)


def _follow(job: Job, checkpoint: Path, group: ProcessGroup) -> None:
    """Train along with the first process, which saves and reports, and decides when to stop."""
    from components.core.training.loop import Stopped, fit

    state, _ = checkpoints.load(checkpoint, job.key) or (None, [])
    train, val = (job.dataset.splits[split] for split in ("train", "val"))
    with process.stop_on_signal(), suppress(Stopped):
        deque(fit(job.network, train, val, job.config, resume=state, group=group), maxlen=0)


def _prepare(dataset: Dataset, tuned: Hyperparameters, params: Params) -> Job:
    names = dataset.class_names
    config, preset = resolve(params, tuned, dataset.splits["train"].labels, len(names))
    network, initial = models.create_model(params.model, len(names), config.seed)
    key = training_key(dataset.digest, initial, config, params)
    return Job(dataset, tuned, config, preset, network, initial, key)


def _train(
    job: Job, checkpoint: Path, deferred: tracking.DeferredRun, group: ProcessGroup
) -> tuple[State, list[dict[str, float]]]:
    """Run all epochs that are left; return the last state and one row per epoch."""
    from components.core.training.loop import LabeledImages, Stopped, fit

    saved = checkpoints.load(checkpoint, job.key)
    state, history = saved or ({}, [])
    if saved:
        print(f"train     resumed after {state['epoch']} epochs, batch {state['batch']}")
    train, val = (job.dataset.splits[split] for split in ("train", "val"))
    with process.stop_on_signal() as stop:
        progress = Progress("train", job.config, len(train.labels), stop)
        timed = TimedImages(train.pixels)

        def after_batch(done: int, total: int) -> bool:
            deferred.advance()  # MLflow is imported while the device computes
            return progress.after_batch(done, total)

        epochs = fit(
            job.network,
            LabeledImages(timed, train.labels),
            val,
            job.config,
            resume=state or None,
            after_batch=after_batch,
            notice=progress.note,
            group=group,
        )
        try:
            for epoch in epochs:
                rate, state = progress.report(epoch), epoch.state
                history.append(outputs.row(epoch, rate) | {"read_share": timed.share()})
                checkpoints.save(checkpoint, job.key, state, history)
                sys.audit("pipeline", "epoch saved")
                _log(deferred.get(), history)
        except Stopped as stopped:
            checkpoints.save(checkpoint, job.key, stopped.state, history)
            raise Interrupted(
                f"train: stopped by a signal; epoch {stopped.state['epoch'] + 1}, batch "
                f"{stopped.state['batch']} is saved. Run the same command again to continue.",
                stop.signal_number,
            ) from None
    return state, history
