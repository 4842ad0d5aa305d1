"""Search the learning rate and the number of epochs on train and val; test is never opened.

Reads images, manifest.parquet, report.json (rows of train and val only).
Writes hyperparameters.json, trials.csv and pictures. The study itself lies in a journal file, or in
the database that OPTUNA_STORAGE names: a stopped search continues with what it has when the same
command runs again. Further workers help with `work`; they share the study and its budget.

Trials of different length are compared at three quarters of their own schedule, never at equal
epochs: under a cosine that ends with the trial, epoch 3 of 3 and epoch 3 of 20 are different
things. docs/decisions.md has the measurement.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components import tracking
from components.core.data.decoding import DataParams
from components.core.errors import InvalidParams
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingConfig, TrainingParams, resolve_config
from components.core.training.loop import LabeledImages
from components.core.training.presets import Preset, choose_preset
from components.core.training.schedule import stratified_subset
from components.io import files
from components.io import process as machine
from components.io.data.dataset import DataPaths, Dataset, open_dataset
from components.io.reports import plots
from components.tune import search
from components.tune.study import TrialQueue, reason
from components.tune.trial import SearchSpace, Subset, Task

# A worker gives each of those before it this long to make the run in MLflow that all share.
_OWNER_SECONDS = 15.0

# What a result of this step depends on besides its inputs: the same as in dvc.yaml.
CODE = (
    "tune",
    "core/artifacts.py",
    "core/data",
    "core/training",
    "io/data",
    "io/files.py",
    "io/models.py",
    "io/process.py",
)

Rate = Annotated[float, Field(ge=1e-6, le=1e-1)]
Epochs = Annotated[int, Field(ge=1, le=50)]
Range = TypeVar("Range", Literal["auto"] | tuple[float, float], Literal["auto"] | tuple[int, int])


class TuneParams(BaseModel):
    """Section `tune` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Annotated[int, Field(ge=1, le=1000)]
    seconds: Annotated[int, Field(ge=1)]
    learning_rate: Literal["auto"] | tuple[Rate, Rate]
    epochs: Literal["auto"] | tuple[Epochs, Epochs]
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)]
    train_fraction: Annotated[float, Field(gt=0, le=1)]

    @field_validator("learning_rate", "epochs")
    @classmethod
    def _low_before_high(cls, value: Range) -> Range:
        if value != "auto" and value[0] > value[1]:
            raise ValueError("[low, high] with low at most high")
        return value


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads."""

    data: DataParams
    model: ModelParams
    training: TrainingParams
    tune: TuneParams


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    study: Annotated[Path, "Optuna's journal file of all trials; kept between runs"] = Path(
        "artifacts/tune/study.journal"
    )
    hyperparameters: Annotated[Path, "JSON to write, the winner"] = Path(
        "artifacts/tune/hyperparameters.json"
    )
    trials: Annotated[Path, "CSV to write, one row a trial"] = Path("artifacts/tune/trials.csv")
    plots: Annotated[Path, "folder to write, figures of the search"] = Path("artifacts/tune/plots")


def run(paths: Paths, params: Params) -> None:
    """Search and write the winner.

    Raises:
        PipelineError: no trial was completed.
    """
    task = _open_task(paths, params)
    with (
        search.open_study(paths.study, task, worker=0) as roster,
        tracking.open_run(kind="tune", name=task.name, key=task.name, tags=_tags(task)) as log,
    ):
        log.params({**asdict(task.space), **params.tune.model_dump()})
        search.run_trials(roster, task, log, wait=True)
        winner = search.winner(roster, task)
        _write_trials(paths.trials, roster)
        _draw(paths.plots, roster)
        log.metrics({"best/val_loss": winner.val_loss, "best/learning_rate": winner.learning_rate})
        for file in (paths.trials, *sorted(paths.plots.iterdir())):
            log.file(file, "tune")
    files.write_artifact(paths.hyperparameters, winner)
    tried = winner.trials_complete + winner.trials_pruned + winner.trials_failed
    print(
        f"tune      best of {tried}: learning rate {winner.learning_rate:.2g}, "
        f"{winner.epochs} epochs, val/loss {winner.val_loss:.3f} "
        f"({winner.trials_complete} complete, {winner.trials_pruned} pruned, "
        f"{winner.trials_failed} failed)",
        flush=True,
    )


def run_worker(paths: Paths, worker: int, params: Params) -> None:
    """Run trials for `run`, which is worker 0; write nothing but the study.

    Args:
        paths: those of `run`.
        worker: number of this worker, from 1; no two at work have the same.
        params: settings, those of `run`.
    """
    task = _open_task(paths, params)
    patience = worker * _OWNER_SECONDS
    with (
        search.open_study(paths.study, task, worker) as roster,
        tracking.join_run(
            kind="tune", name=task.name, key=task.name, tags=_tags(task), patience=patience
        ) as log,
    ):
        search.run_trials(roster, task, log, wait=False)
        print(f"tune      worker {worker}: nothing is left to begin", flush=True)


def _open_task(paths: DataPaths, params: Params) -> Task:
    machine.prepare()
    machine.make_deterministic()
    dataset = open_dataset(paths, params.data, params.model.image_size, ("train", "val"))
    return prepare(dataset, params)


def _tags(task: Task) -> dict[str, str]:
    return {"data": task.data_digest, **machine.facts(task.plan.device)}


def prepare(dataset: Dataset, params: Params) -> Task:
    """Resolve the space and the plan; name the study after everything that shapes its values."""
    if params.tune.image_size > params.model.image_size:
        raise InvalidParams(
            f"params.yaml: tune.image_size is {params.tune.image_size}, but pictures are kept at "
            f"model.image_size {params.model.image_size}; use at most that."
        )
    train = _subset(dataset.splits["train"], params)
    num_train = len(dataset.splits["train"].labels)
    preset = choose_preset(params.training.preset, num_train, params.model.weights)
    space = _space(params.tune, preset)
    plan = resolve_config(
        # trials are short and small already: growing pictures would hide the details from them
        params.training.model_copy(update={"progressive_resizing_start": 1.0}),
        preset,
        architecture=params.model.architecture,
        learning_rate=space.first["learning_rate"],
        epochs=int(space.first["epochs"]),
        early_stopping=50,  # never: a trial runs its whole schedule or is pruned
        image_size=params.tune.image_size,
        labels=train.labels,
        num_classes=len(dataset.class_names),
    )
    print(
        f"tune      {preset.tier} ({preset.reason}): {params.tune.trials} trials in "
        f"{params.tune.seconds} s on {len(train.labels)} images of {plan.image_size} px, learning "
        f"rate {space.learning_rate[0]:.0e}..{space.learning_rate[1]:.0e}, "
        f"{space.epochs[0]}..{space.epochs[1]} epochs",
        flush=True,
    )
    return Task(
        train=train,
        val=dataset.splits["val"],
        plan=plan,
        model=params.model,
        space=space,
        trials=params.tune.trials,
        seconds=params.tune.seconds,
        data_digest=dataset.digest,
        num_classes=len(dataset.class_names),
        name=_study_name(dataset, plan, space, params),
    )


def _study_name(dataset: Dataset, plan: TrainingConfig, space: SearchSpace, params: Params) -> str:
    """Names what shapes a trial's value, so that no two kinds of trial ever mix.

    Device and precision as they were asked for: the study itself knows what its trials ran on.
    """
    settings = [
        params.model.model_dump(),
        params.data.decode_params.model_dump(),
        params.tune.train_fraction,
    ]
    asked = {"device": params.training.device, "precision": params.training.precision}
    facts = [
        dataset.digest, files.digest_sources(CODE), asdict(plan) | asked, asdict(space), *settings
    ]  # fmt: skip
    return f"tune-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]}"


def _subset(train: LabeledImages, params: Params) -> LabeledImages:
    """The pictures that trials learn from: a share of every class."""
    chosen = stratified_subset(train.labels, params.tune.train_fraction, params.training.seed)
    return LabeledImages(Subset(train.pixels, chosen), train.labels[chosen])


def _space(params: TuneParams, preset: Preset) -> SearchSpace:
    """The preset's ranges unless params name their own; the default is pulled inside them."""
    rates = preset.learning_rates if params.learning_rate == "auto" else params.learning_rate
    epochs = preset.epochs if params.epochs == "auto" else params.epochs
    middle = round((epochs[0] * epochs[1]) ** 0.5)
    rate = min(max(preset.learning_rate, rates[0]), rates[1])
    return SearchSpace(rates, epochs, {"learning_rate": rate, "epochs": middle})


def _write_trials(path: Path, roster: TrialQueue) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "worker", "state", "learning_rate", "epochs", "val_loss", "why"])
    for trial in roster.begun():
        settings = [trial.params.get(name, "") for name in ("learning_rate", "epochs")]
        value = "" if trial.value is None else f"{trial.value:.6f}"
        who = [trial.number, trial.user_attrs["worker"], trial.state.name.lower()]
        writer.writerow([*who, *settings, value, reason(trial)])
    files.write_text(path, text.getvalue())


def _draw(folder: Path, roster: TrialQueue) -> None:
    """History, curves by share of schedule, and the importance of the two settings."""
    trials = roster.begun()
    plots.study_history(
        [(t.number, t.value, t.state.name.lower()) for t in trials], folder / "history.png"
    )
    curves = [
        (t.number, sorted(t.intermediate_values.items()), t.state.name.lower()) for t in trials
    ]
    plots.study_curves(curves, folder / "intermediate.png")
    plots.study_importance(search.importance(roster), folder / "importance.png")
