"""How fast this machine does this project's own work: a few seconds, in a process of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.data.decoding import DataParams
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingConfig, TrainingParams
from components.core.training.presets import choose_preset
from components.io import checkpoints, process
from components.io.data.cpus import usable_cpus
from pipeline.busy_cores import Neighbors
from pipeline.costs import peak_mebibytes
from pipeline.forecast.costs import Speeds
from pipeline.forecast.noise_training import BATCH_SECONDS, NoiseTraining, noise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

# Files of one task of scan's thread pool.
_CHUNK = 32

# Seconds that reading the sample of files may take, about.
_FILE_SECONDS = 0.8

_SMALL_BATCH = 8

# Of `_python` on the machine that the fixed costs were measured on.
_REFERENCE_SECONDS = 0.0135


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is measured.

    Attributes:
        images: the image folder.
        files: some of its files, relative.
        data: how images are decoded.
        model: the network.
        training: its training.
        trial_size: side of the images in trials.
        train: training images of each class.
        trial: those that a trial learns from, all classes together.
        val: images.
        test: images.
    """

    images: Path
    files: tuple[str, ...]
    data: DataParams
    model: ModelParams
    training: TrainingParams
    trial_size: int
    train: tuple[int, ...]
    trial: int
    val: int
    test: int


def measure(task: Task) -> Speeds:
    """Do a little of each kind of work, as the steps do it.

    Raises:
        PipelineError: the settings ask for what is not possible here.
    """
    neighbors = Neighbors()
    with tempfile.TemporaryDirectory() as folder:
        files = _time_files(task, Path(folder))
        process.configure()
        process.choose_kernels(deterministic=task.training.deterministic)
        config = _config(task)
        forward = _time_predictions(task, config)
        at_once = min(
            _images_at_once(task.model.image_size), int(BATCH_SECONDS / forward["predict"])
        )
        num_val = max(1, min(task.val, at_once))
        trial = _train(task, replace(config, image_size=task.trial_size), task.trial, num_val)
        train = _train(task, config, sum(task.train), num_val)
        small = replace(config, batch_size=_SMALL_BATCH)
        compared = config.device == "cpu" and config.batch_size > _SMALL_BATCH
        return Speeds(
            **files,
            **forward,
            trial_image=trial.image,
            trial_val=trial.val,
            trial_mib=trial.mib,
            train_image=train.image,
            train_val=train.val,
            train_mib=train.mib,
            small_batch=_train(task, small, _SMALL_BATCH, 1).image if compared else None,
            checkpoint=_time_checkpoint(train, Path(folder)),
            scale=_python() / _REFERENCE_SECONDS,
            batch_size=config.batch_size,
            augmentation=config.augmentation,
            device=config.device,
            gpu_gib=_gpu_gib(config.device),
            busy_cores=neighbors.cores(),
        )


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _python() -> float:
    """Seconds of a little work for the interpreter alone, whoever else uses the core."""
    rows = [{"name": f"image {n}", "values": [n / 7, n / 11]} for n in range(2_000)]
    times = []
    for _ in range(5):
        started = time.process_time()
        json.loads(json.dumps(rows, indent=1))
        times.append(time.process_time() - started)
    return min(times)


def _time_files(task: Task, scratch: Path) -> dict[str, float]:
    """Of validate and of the cache of pixels."""
    import pandas as pd

    from components.io.data import pixel_cache
    from components.io.data.scan import scan

    images, cpus = scratch / "images", usable_cpus()

    def read(cache: str) -> float:
        return _timed(
            lambda: scan(images, exclude=(), params=task.data.decode_params, cache=scratch / cache)
        )

    (images / "class").mkdir(parents=True)
    read("imports")
    before, first = peak_mebibytes(), task.files[:2]
    _copy(task, images, first)
    read("decoders")
    alone = read("first") / len(first)
    chosen = task.files[: _CHUNK * cpus]
    if alone * len(chosen) > _FILE_SECONDS * cpus:
        chosen = chosen[: max(2, min(_CHUNK, int(_FILE_SECONDS / alone)))]
    _copy(task, images, chosen)
    # A chunk is read by one thread; of whole chunks there is one for each core.
    threads = min(cpus, -(-len(chosen) // _CHUNK))
    each = threads / cpus / len(chosen)
    new, known = read("cache") * each, read("cache") * each
    read_mib = peak_mebibytes() - before
    found = scan(images, exclude=(), params=task.data.decode_params, cache=scratch / "cache")
    used = [file for file in found.files if file.status == "used"]
    rows = pd.DataFrame(
        {"path": [file.path for file in used], "sha256": [file.sha256 for file in used]}
    )
    data, size = task.data.model_copy(update={"cache_gib": 1.0}), task.model.image_size
    decode = _timed(lambda: pixel_cache.open_pixels(rows, images, scratch / "px", data, size))
    return {
        "new_file": new,
        "known_file": known,
        "decode": decode / max(1, len(used)),
        "scan_mib": read_mib * cpus / threads,
    }


def _copy(task: Task, folder: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        shutil.copyfile(task.images / name, folder / "class" / f"{number}{Path(name).suffix}")


def _config(task: Task) -> TrainingConfig:
    """That of train, with a learning rate at which noise cannot diverge."""
    import numpy as np

    from components.core.training.config import resolve_config

    preset = choose_preset(task.training.preset, sum(task.train), task.model.weights)
    return resolve_config(
        task.training,
        preset,
        architecture=task.model.architecture,
        learning_rate=1e-6,
        epochs=50,
        early_stopping=50,
        horizontal_flip=True,
        image_size=task.model.image_size,
        labels=np.repeat(np.arange(len(task.train)), task.train),
        num_classes=len(task.train),
    )


def _network(task: Task) -> nn.Module:
    from components.core.training.architectures import build_network

    return build_network(task.model.architecture, len(task.train))


def _images_at_once(side: int) -> int:
    """As `predict_logits` takes them."""
    return max(1, (1 << 20) // side**2)


def _time_predictions(task: Task, config: TrainingConfig) -> dict[str, float]:
    """Of evaluate: in fp32, many at once and one by one."""
    from components.core.training.inference import predict_logits

    side, network = config.image_size, _network(task).to(config.device)

    def predict(images: NDArray[np.uint8]) -> float:
        return _timed(lambda: predict_logits(network, images, device=config.device))

    one = noise(1, side)
    alone = min(predict(one) for _ in range(3))
    at_once = min(_images_at_once(side), int(BATCH_SECONDS / alone))
    count = max(1, min(task.test, at_once))
    many = noise(count, side)
    predict(many)
    return {
        "predict": predict(many) / count,
        "predict_alone": alone,
        "predict_mib": peak_mebibytes(),
    }


def _train(task: Task, config: TrainingConfig, num_train: int, num_val: int) -> NoiseTraining:
    network, side = _network(task), task.model.image_size
    return NoiseTraining(network, side, config, num_train=num_train, num_val=num_val)


def _time_checkpoint(training: NoiseTraining, folder: Path) -> float:
    return _timed(lambda: checkpoints.save(folder / "checkpoint.bin", "", training.state, []))


def _gpu_gib(device: str) -> float | None:
    import torch

    if device != "cuda":
        return None
    return float(torch.cuda.get_device_properties(0).total_memory / 2**30)
