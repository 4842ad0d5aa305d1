"""Search the learning rate and the number of epochs on train and val; test is never opened.

Reads images, manifest.parquet, report.json (rows of train and val only).
Writes hyperparameters.json, trials.csv and plots. The study itself lies in a journal file, or in
the database that OPTUNA_STORAGE names: a stopped search continues with what it has when the same
command runs again. Further workers call `run_worker`; they share the study and its budget.

Trials of different length are compared at three quarters of their own schedule, never at equal
epochs: under a cosine that ends with the trial, epoch 3 of 3 is not epoch 3 of 20. Measured in
docs/decisions/0001-prune-trials-at-three-quarters.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components import tracking
from components.core.data.decoding import DataParams
from components.core.errors import InvalidParams
from components.core.phrases import count
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingConfig, TrainingParams, resolve_config
from components.core.training.loop import LabeledImages
from components.core.training.presets import Preset, choose_preset
from components.core.training.schedule import stratified_subset
from components.core.training.subset import Subset
from components.io import files, process
from components.io.data.dataset import DataPaths, Dataset, open_dataset
from components.tracking import shown
from components.tune import outputs, search
from components.tune.search_space import SearchSpace, search_space
from components.tune.trial import StudyContext

# Worker k waits k times this long for the run in MLflow that all share, before it makes one.
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

    num_trials: int = Field(ge=1, le=1000, description="Trials of the study, all workers together.")
    timeout_seconds: int = Field(
        ge=1, description="Time for the study, s; it never ends before one trial is complete."
    )
    learning_rate: Literal["auto"] | tuple[Rate, Rate] = Field(
        description="Range to search, [low, high]; auto = the preset's."
    )
    epochs: Literal["auto"] | tuple[Epochs, Epochs] = Field(
        description="Range to search, [low, high]; auto = the preset's."
    )
    image_size: int = Field(
        ge=32,
        le=1024,
        multiple_of=16,
        description="Image side in trials, pixels; at most model.image_size.",
    )
    train_fraction: float = Field(
        gt=0, le=1, description="Share of the training images in trials, taken from every class."
    )

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

    study: Annotated[Path, "journal file of Optuna; kept between runs"] = Path(
        "artifacts/tune/study.journal"
    )
    hyperparameters: Annotated[Path, "JSON to write, those of the best trial"] = Path(
        "artifacts/tune/hyperparameters.json"
    )
    trials: Annotated[Path, "CSV to write, one row per trial"] = Path("artifacts/tune/trials.csv")
    plots: Annotated[Path, "folder to write, figures of the search"] = Path("artifacts/tune/plots")


def run(paths: Paths, params: Params) -> None:
    """Search, and write the hyperparameters of the best trial.

    Raises:
        PipelineError: no trial is complete.
    """
    context = _open_context(paths, params)
    with (
        search.open_study(paths.study, context, worker=0) as queue,
        tracking.open_run(
            kind="tune", name=context.name, key=context.name, tags=_tags(context)
        ) as mlflow_run,
    ):
        mlflow_run.params({**asdict(context.space), **params.tune.model_dump()})
        search.run_trials(queue, context, mlflow_run, wait=True)
        best = search.best_hyperparameters(queue, context)
        outputs.write_trials(paths.trials, queue)
        outputs.draw(paths.plots, queue)
        mlflow_run.metrics(
            {"best/val_loss": best.val_loss, "best/learning_rate": best.learning_rate}
        )
        for file in (paths.trials, *sorted(paths.plots.iterdir())):
            mlflow_run.file(file, "tune")
        shown.describe(
            mlflow_run, outputs.summarize(best), name=f"tune: val loss {best.val_loss:.3f}"
        )
    files.write_artifact(paths.hyperparameters, best)
    print(f"tune      {outputs.summarize(best)}", flush=True)


def run_worker(paths: Paths, worker: int, params: Params) -> None:
    """Run trials for `run`, which is worker 0; write nothing but the study.

    Args:
        paths: those of `run`.
        worker: number of this worker, from 1.
        params: settings, those of `run`.
    """
    context = _open_context(paths, params)
    patience = worker * _OWNER_SECONDS
    with (
        search.open_study(paths.study, context, worker) as queue,
        tracking.join_run(
            kind="tune",
            name=context.name,
            key=context.name,
            tags=_tags(context),
            patience=patience,
        ) as mlflow_run,
    ):
        search.run_trials(queue, context, mlflow_run, wait=False)
        print(f"tune      worker {worker}: no trials left", flush=True)


def _open_context(paths: DataPaths, params: Params) -> StudyContext:
    process.configure()
    process.choose_kernels(deterministic=params.training.deterministic)
    dataset = open_dataset(paths, params.data, params.model.image_size, ("train", "val"))
    return prepare(dataset, params)


def _tags(context: StudyContext) -> dict[str, str]:
    return {"data": context.data_digest, **process.hardware_facts(context.config.device)}


def prepare(dataset: Dataset, params: Params) -> StudyContext:
    """Resolve search space and settings; name the study after everything that shapes its values."""
    if params.tune.image_size > params.model.image_size:
        raise InvalidParams(
            f"params.yaml: tune.image_size is {params.tune.image_size}, but images are kept at "
            f"model.image_size {params.model.image_size}; use at most that."
        )
    train = _subset(dataset.splits["train"], params)
    num_train = len(dataset.splits["train"].labels)
    preset = choose_preset(params.training.preset, num_train, params.model.weights)
    space, num_trials = _space(params, preset)
    config = resolve_config(
        params.training,
        preset,
        architecture=params.model.architecture,
        learning_rate=space.first_trials[0]["learning_rate"],
        epochs=int(space.first_trials[0]["epochs"]),
        horizontal_flip=space.horizontal_flip[0],
        early_stopping=50,  # never: a trial runs its whole schedule or is pruned
        image_size=params.tune.image_size,
        labels=train.labels,
        num_classes=len(dataset.class_names),
    )
    print(
        f"tune      {preset.tier} ({preset.reason}): {count(num_trials, 'trial')} in "
        f"{params.tune.timeout_seconds} s on {len(train.labels)} images of {config.image_size} px, "
        f"learning rate {space.learning_rate[0]:.0e}..{space.learning_rate[1]:.0e}, "
        f"{space.epochs[0]}..{space.epochs[1]} epochs",
        flush=True,
    )
    return StudyContext(
        train=train,
        val=dataset.splits["val"],
        config=config,
        model=params.model,
        space=space,
        num_trials=num_trials,
        timeout_seconds=params.tune.timeout_seconds,
        data_digest=dataset.digest,
        num_classes=len(dataset.class_names),
        name=_study_name(dataset, config, space, params),
    )


def _space(params: Params, preset: Preset) -> tuple[SearchSpace, int]:
    """The search space, and how many trials: the budget, but each setting there is only once."""
    augmented, budget = params.training.augmentation != "none", params.tune.num_trials
    space = search_space(
        preset,
        learning_rate=params.tune.learning_rate,
        epochs=params.tune.epochs,
        horizontal_flip=augmented and params.training.horizontal_flip,  # else nothing flips
        seed=params.training.seed,
    )
    if space.num_settings >= budget:
        return space, budget
    num_trials = len(space.first_trials)
    print(
        f"tune      the search space has {count(num_trials, 'setting')}, fewer than "
        f"tune.num_trials {budget}: each is tried once",
        flush=True,
    )
    return space, num_trials


def _study_name(
    dataset: Dataset, config: TrainingConfig, space: SearchSpace, params: Params
) -> str:
    """Names what shapes a trial's value, so that no two kinds of trial ever mix.

    Device and precision as they were asked for: the study itself knows what its trials ran on.
    """
    settings = [
        params.model.model_dump(),
        params.data.decode_params.model_dump(),
        params.tune.train_fraction,
    ]
    requested = {"device": params.training.device, "precision": params.training.precision}
    config_facts = [asdict(config) | requested, asdict(space)]
    facts = [dataset.digest, files.digest_sources(CODE), *config_facts, *settings]
    return f"tune-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]}"


def _subset(train: LabeledImages, params: Params) -> LabeledImages:
    """The images that trials learn from: a share of every class."""
    indices = stratified_subset(train.labels, params.tune.train_fraction, params.training.seed)
    return LabeledImages(Subset(train.pixels, indices), train.labels[indices])
