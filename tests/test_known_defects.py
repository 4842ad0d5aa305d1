"""Defects that image pipelines are known for, each named in plain words and planted if it can be.

Left to other tests, which go through the real registry: the champion's number is its own, the first
model meets the bounds before it is registered, and an alias is never moved by halves.
"""

import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
import yaml

from components.core.artifacts import Evaluation, Metrics
from components.core.data import splits
from components.core.data.decoding import DataParams, ImageParams
from components.core.data.files import Scan
from components.core.errors import ChangedInput, InvalidData
from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Check, Outcome
from components.core.training import schedule
from components.core.training.config import TrainingConfig, TrainingParams, resolve_config
from components.core.training.inference import predict_logits
from components.core.training.loop import fit
from components.core.training.presets import choose_preset
from components.io import checkpoints
from components.io.data.dataset import open_dataset
from components.io.data.scan import scan
from tests import factories
from tests.components.core.gate.conftest import (
    decide_on,
    evidence_of,
    failing,
    model_and_champion,
    policy,
    row,
)
from tests.components.core.training.test_loop import CONFIG, TRAIN, VAL, equal, interrupted, tiny
from tests.planted import Planted, plant_data

ROOT = Path(__file__).parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SUPERIOR = policy(champion_test="superior")
BETTER, EQUAL, WORSE = (
    model_and_champion(30, 5, 300),
    model_and_champion(12, 12, 300),
    model_and_champion(5, 30, 300),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_data(tmp_path_factory.mktemp("defects"), {"cat": 20, "dog": 20})


def run_scan(images: Path) -> Scan:
    params = {k: v for k, v in PARAMS["data"].items() if k != "cache_gib"}
    cache = images.parent / "cache"
    return scan(images, exclude=[], params=ImageParams.model_validate(params), cache=cache)


def test_the_champion_is_evaluated_by_its_own_predictions_not_by_the_candidates() -> None:
    found, champion = WORSE
    assert row(decide_on(found, champion, SUPERIOR), "champion").status == "fail"
    assert row(decide_on(champion, found, SUPERIOR), "champion").status == "pass"
    assert row(decide_on(found, found, SUPERIOR), "champion").status == "fail"


def test_a_failing_candidate_is_not_promoted_by_a_default() -> None:
    assert all(field.is_required() for field in GatePolicy.model_fields.values())
    strict = GatePolicy.model_validate(PARAMS["register"]["gate"])
    assert (
        decide_on(factories.predictions_of([[60, 40], [40, 60]]), required=strict).verdict
        == "blocked"
    )


def test_better_than_current_is_no_constant() -> None:
    superior = policy(champion_test="superior", max_class_recall_drop=1.0)
    verdicts = [decide_on(*pair, superior).verdict for pair in (BETTER, EQUAL, WORSE)]
    assert verdicts == ["passed", "blocked", "blocked"]
    non_inferior = policy(non_inferiority_margin=0.05)
    verdicts = [decide_on(*pair, non_inferior).verdict for pair in (BETTER, EQUAL, WORSE)]
    assert verdicts == ["passed", "passed", "blocked"]


def test_training_and_test_may_not_share_an_image() -> None:
    assert (
        decide_on(factories.predictions_of([[9, 0], [0, 9]]), leaked_test_images=1).verdict
        == "error"
    )
    pixels = [f"{n:064x}" for n in range(30)] * 2
    placed = splits.assign(
        ["cat"] * 60, splits.group(pixels), {"train": 0.5, "val": 0.2, "test": 0.3}, seed=0
    )
    assert placed[:30] == placed[30:]


def test_predictions_depend_neither_on_the_batch_size_nor_on_the_order() -> None:
    net, pixels = tiny(), np.asarray(TRAIN.pixels[slice(0, 13)])
    whole = predict_logits(net, pixels, device="cpu", batch_size=13)
    for size in (1, 4):
        one = predict_logits(net.train(), pixels, device="cpu", batch_size=size)
        assert np.allclose(one, whole, atol=1e-6)
    turned = predict_logits(net.train(), pixels[::-1].copy(), device="cpu", batch_size=5)
    assert np.allclose(turned[::-1], whole, atol=1e-6)


def test_the_learning_rate_is_the_declared_one_at_the_end_of_each_epoch() -> None:
    epochs = list(fit(tiny(), TRAIN, VAL, CONFIG))
    last = (2, 5, 8)  # of three batches an epoch
    expected = [
        schedule.learning_rate_at(step, 9, CONFIG.learning_rate, CONFIG.warmup_fraction)
        for step in last
    ]
    assert [epoch.learning_rate for epoch in epochs] == expected


@pytest.mark.row("R17")
def test_the_best_epoch_is_the_one_with_the_least_loss_not_the_first_or_last() -> None:
    epochs = list(fit(tiny(), TRAIN, VAL, replace(CONFIG, epochs=6, learning_rate=0.1)))
    losses = [epoch.val_loss for epoch in epochs]
    kept = epochs[-1].state["best"]
    assert kept["val_loss"] == min(losses)
    assert kept["epoch"] == losses.index(min(losses)) + 1
    assert [e.index for e in epochs if e.best][-1] == kept["epoch"]


@pytest.mark.row("T11")
def test_training_and_tuning_work_without_the_test_images_being_readable(
    planted: Planted,
) -> None:
    data = DataParams.model_validate(PARAMS["data"])
    originals = {}
    for name in planted.test["path"]:
        path = planted.data_paths.images / name
        originals[path] = path.read_bytes()
        path.write_bytes(b"nobody may look")
    try:
        opened = open_dataset(planted.data_paths, data, 32, ("train", "val"))
        assert set(opened.splits) == {"train", "val"}
        with pytest.raises(ChangedInput):
            open_dataset(planted.data_paths, data, 32, ("test",))
    finally:
        for path, content in originals.items():
            path.write_bytes(content)


OTHERS: dict[str, object] = {
    "seed": 8,
    "preset": "large",
    "batch_size": 5,
    "augmentation": "none",
    "horizontal_flip": False,
    "rotate_90": False,
    "weight_decay": 0.5,
    "label_smoothing": 0.3,
    "warmup_fraction": 0.5,
    "class_weights": "balanced",
    "ema_decay": 0.7,
    "deterministic": False,
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_declared_setting_changes_the_effective_ones(name: str) -> None:
    base = PARAMS["training"] | {"preset": "small", "batch_size": "auto", "augmentation": "auto",
                                 "device": "cpu", "precision": "fp32"}  # fmt: skip
    labels = np.array([0] * 30 + [1] * 10)

    def effective(training: dict[str, object]) -> TrainingConfig:
        parsed = TrainingParams.model_validate(training)
        preset = choose_preset(parsed.preset, len(labels), "random")
        return resolve_config(parsed, preset, architecture="resnet18", learning_rate=1e-3, epochs=3,
                         early_stopping=3, horizontal_flip=False, image_size=64,
                         labels=labels, num_classes=2)  # fmt: skip

    assert set(OTHERS) == set(TrainingParams.model_fields) - {"device", "precision"}
    assert effective(base | {name: OTHERS[name]}) != effective(base)


def test_nothing_is_approved_by_default() -> None:
    for kind in (Outcome, Check):
        assert all(field.is_required() for field in kind.model_fields.values())
    assert (
        decide_on(
            factories.predictions_of([[9, 0], [0, 9]]), revoked_reason="was rolled back"
        ).verdict
        == "blocked"
    )


@pytest.mark.row("P02")
def test_a_number_is_recomputed_and_never_taken_from_what_somebody_wrote() -> None:
    found = factories.predictions_of([[60, 40], [40, 60]])
    outcome = decide_on(found, required=policy(min_accuracy=0.9))
    assert outcome.accuracy is not None
    assert (outcome.verdict, outcome.accuracy.value) == ("blocked", 0.6)
    assert not {Evaluation, Metrics} & set(get_type_hints(decide).values())
    stated: Any = "accuracy: 0.99"
    assert decide(policy(), evidence_of(found), stated, None).verdict == "error"


def test_a_split_is_the_same_when_it_is_made_again_in_another_order() -> None:
    names = [f"{n:064x}" for n in range(200)]
    labels = ["cat" if n % 3 else "dog" for n in range(200)]
    shares: Any = {"train": 0.7, "val": 0.15, "test": 0.15}
    once = dict(zip(names, splits.assign(labels, names, shares, 0), strict=True))
    order = random.Random(5).sample(range(200), 200)
    again = splits.assign([labels[k] for k in order], [names[k] for k in order], shares, 0)
    assert dict(zip([names[k] for k in order], again, strict=True)) == once


def test_a_resumed_training_ends_with_the_bits_of_an_unbroken_one() -> None:
    unbroken = list(fit(tiny(), TRAIN, VAL, CONFIG))[-1]
    _, state = interrupted(tiny(), CONFIG, stop_at=5)
    resumed = list(fit(tiny(seed=1), TRAIN, VAL, CONFIG, resume=state))[-1]
    assert resumed.val_loss == unbroken.val_loss
    assert equal(resumed.state["network"], unbroken.state["network"])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_half_written_checkpoint_is_never_resumed_from(tmp_path: Path, share: float) -> None:
    path = tmp_path / "train.ckpt"
    checkpoints.save(path, "key", {"epoch": 1, "weight": torch.ones(1000)}, [{"epoch": 1.0}])
    assert checkpoints.load(path, "key") is not None
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert checkpoints.load(path, "key") is None


def test_an_unreadable_image_neither_vanishes_nor_turns_black(
    tmp_path: Path, class_folders: Callable[[Path, dict[str, int]], Path]
) -> None:
    images = class_folders(tmp_path / "images", {"cat": 4, "dog": 3})
    broken = images / "dog/001.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = {file.path: file for file in run_scan(images).files}
    assert len(found) == 7
    assert [path for path, file in found.items() if file.reason] == ["dog/001.png"]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.7])
def test_a_part_of_a_list_sorted_by_class_holds_every_class(share: float) -> None:
    labels = np.repeat(np.arange(5), 40)
    chosen = schedule.stratified_subset(labels, share, seed=0)
    assert set(labels[chosen]) == set(range(5))


@pytest.mark.row("P15")
def test_classes_are_matched_by_name_and_a_missing_one_is_refused() -> None:
    found, champion = BETTER
    turned = champion.in_order_of(["class 1", "class 0"])
    assert decide_on(found, turned, SUPERIOR) == decide_on(found, champion, SUPERIOR)
    with pytest.raises(ValueError, match="other classes"):
        champion.in_order_of(["class 1", "cat"])
    fewer: Predictions = replace(champion, class_names=["class 0", "cat"])
    assert decide_on(found, fewer, SUPERIOR).verdict == "error"


def test_a_shuffled_folder_gives_the_same_pairs_of_image_and_label(
    tmp_path: Path,
    class_folders: Callable[[Path, dict[str, int]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = class_folders(tmp_path / "images", {"dog": 9, "cat": 9})
    first, listed = run_scan(images), os.scandir

    class Backwards:
        def __init__(self, path: Path) -> None:
            self.entries = sorted(listed(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    assert run_scan(images) == first
    assert all(file.path.startswith(f"{file.label}/") for file in first.files)


def test_the_first_model_has_to_meet_every_bound_that_needs_no_champion() -> None:
    weak = factories.predictions_of([[60, 40], [40, 60]])
    none = factories.champion_evidence("none")
    outcome = decide_on(weak, required=policy(min_accuracy=0.9), champion=none)
    assert outcome.first_model
    assert failing(outcome) == ["accuracy"]


def test_broken_data_stop_the_pipeline(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="min_images"):
        plant_data(tmp_path, {"cat": 12, "dog": 12}, **{"validate.min_images": 100})
    with pytest.raises((ChangedInput, InvalidData)):
        open_dataset(
            Planted(tmp_path).data_paths, DataParams.model_validate(PARAMS["data"]), 32, ("train",)
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_undefined_number_is_an_error_and_never_skipped(value: float) -> None:
    found = factories.predictions_of([[90, 10], [20, 80]])
    probabilities = found.probabilities.copy()
    probabilities[7] = value
    assert decide_on(replace(found, probabilities=probabilities)).verdict == "error"
    slow = policy(max_latency_ms=50.0)
    assert decide_on(found, required=slow, latency_p95_ms=value).verdict == "error"
    assert decide_on(found, required=slow, latency_p95_ms=None).verdict != "passed"


@pytest.mark.parametrize(
    ("name", "setting", "start"),
    [("accuracy", "min_accuracy", 0.95), ("macro F1", "min_macro_f1", 0.95),
     ("class recall", "min_class_recall", 0.95), ("model size", "max_model_mb", 1.0),
     ("calibration", "max_ece", 0.001)],
)  # fmt: skip
def test_who_follows_the_numbers_of_a_refusal_passes(name: str, setting: str, start: float) -> None:
    found = factories.predictions_of([[90, 10], [20, 80]])
    refused = row(decide_on(found, required=policy(**{setting: start})), name)
    assert refused.status == "fail"
    number, bound = re.findall(r"\d+\.\d+", refused.message)[0], refused.threshold.split()[-1]
    assert float(bound) == start
    step = 0.001 if "max" in setting else -0.001
    moved = policy(**{setting: float(number) + step})
    assert row(decide_on(found, required=moved), name).status == "pass"


@pytest.mark.row("P13")
def test_model_and_champion_are_evaluated_on_the_same_images() -> None:
    found, _ = BETTER
    others = replace(
        model_and_champion(30, 5, 300)[1], paths=[f"other/{n:04}.png" for n in range(300)]
    )
    assert decide_on(found, others).verdict == "error"
