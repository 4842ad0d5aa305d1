"""From a project to its forecast: what there is to do, the speeds here, the first line of a run."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components import validate
from components.core.errors import PipelineError
from pipeline import forecast
from pipeline.cli import main
from pipeline.doctor import costs
from pipeline.forecast import speeds, work
from pipeline.forecast.costs import Speeds, Work
from pipeline.forecast.probe import Task
from pipeline.forecast.speeds import key_of, of_this_machine
from tests.components.conftest import ROOT, write_params
from tests.pipeline.forecast.test_costs import SPEEDS

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """48 images in two classes, validated, as the current folder; forecasts are switched on."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(forecast.VARIABLE, raising=False)
    root = tmp_path / "project"
    shutil.copytree(workspace.root, root)
    shutil.copy(ROOT / "dvc.yaml", root)
    monkeypatch.setattr(speeds, "_SECONDS", 600)  # of a busy machine, too
    monkeypatch.setattr(costs, "COST_SECONDS", 600)
    monkeypatch.chdir(root)
    change()
    return root


SPLIT = {"train": 0.5, "val": 0.25, "test": 0.25}


def change(**settings: object) -> None:
    """Of params.yaml in the current folder; `train__epochs` means train.epochs."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    write_params(Path("params.yaml"), {"validate.split": SPLIT, **named})


def task() -> Task:
    return work.read(validate.Paths())[2]


def to_do() -> Work:
    return work.read(validate.Paths())[1]


def test_the_images_of_the_last_validation_count_if_it_saw_these_files(project: Path) -> None:
    found = to_do()
    report = json.loads((project / "artifacts/validate/report.json").read_text())
    counts = report["counts"].values()
    assert found.train == sum(count["train"] for count in counts)
    assert found.val == sum(count["val"] for count in counts)
    assert found.test == sum(count["test"] for count in counts)
    assert (found.new, found.known) == (0, 48)  # the cache of the last validation is there


def test_without_a_validation_the_expected_images_count_and_none_is_known(project: Path) -> None:
    shutil.rmtree("artifacts")
    found = to_do()
    assert (found.train, found.val, found.test) == (24, 12, 12)
    assert (found.new, found.known) == (48, 0)
    assert task().train == (12, 12)


def test_files_that_came_since_are_new(project: Path) -> None:
    shutil.copy("data/images/lying/00.png", "data/images/lying/new.png")
    found = to_do()
    assert (found.new, found.known) == (1, 48)
    assert found.train == 24  # 0.5 of 25 and of 24: expected, no more known


def test_without_the_cache_no_file_is_known(project: Path) -> None:
    shutil.rmtree("cache")
    assert (to_do().new, to_do().known) == (48, 0)


def test_a_ready_made_split_is_counted(
    project: Path, class_folders: Callable[[Path, dict[str, int]], Path]
) -> None:
    shutil.rmtree("data/images")
    for split, number in (("train", 9), ("val", 4), ("test", 3)):
        class_folders(project / "data/images" / split, {"a": number, "b": 2 * number})
    found = to_do()
    assert (found.train, found.val, found.test) == (27, 12, 9)
    assert task().train == (9, 18)


def test_a_trial_learns_from_its_share_of_every_class(project: Path) -> None:
    shutil.rmtree("artifacts")
    change(tune__train_fraction=0.25)
    assert to_do().trial == 6
    change(tune__train_fraction=0.01)
    assert to_do().trial == 4  # two of each class at least


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"train__epochs": 7, "train__early_stopping": 50}, (7, 7, 7)),
        ({"train__epochs": 20, "train__early_stopping": 3}, (13, 20, 20)),
        ({"tune__epochs": [4, 16], "train__early_stopping": 50}, (4, 9, 16)),
        ({"tune__epochs": [4, 16], "train__early_stopping": 1}, (3, 9, 16)),
    ],
)
def test_epochs_are_those_given_or_the_range_of_tune_and_early_stopping_shortens_them(
    project: Path, settings: dict[str, object], expected: tuple[int, int, int]
) -> None:
    change(**settings)
    assert to_do().epochs == expected


def test_pixels_beyond_the_cache_are_streamed(project: Path) -> None:
    assert not to_do().streamed
    change(data__cache_gib=1e-6)
    assert to_do().streamed


def test_the_speeds_are_measured_by_real_work_and_kept(project: Path) -> None:
    measured = of_this_machine(task(), project / "kept")
    times = ("new_file", "known_file", "decode", "predict", "predict_alone", "trial_image")
    for name in (*times, "trial_val", "train_image", "train_val", "checkpoint", "scale"):
        assert getattr(measured, name) > 0, name
    assert measured.batch_size == 8
    assert measured.small_batch is None  # it is that size already
    assert measured.augmentation == "light"
    assert (measured.device, measured.gpu_gib) == ("cpu", None)
    # torch, and the weights of a ResNet-18 with gradients and two moments
    assert measured.train_mib > 4 * 44
    assert measured.predict_mib <= measured.trial_mib <= measured.train_mib


def test_what_is_kept_is_not_measured_again_until_something_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(given: Task, _seconds: float) -> Speeds:
        asked.append(given)
        return SPEEDS

    monkeypatch.setattr(speeds, "_measure_aside", measure)
    assert of_this_machine(task(), project / "kept") == SPEEDS
    assert of_this_machine(task(), project / "kept") == SPEEDS
    assert len(asked) == 1
    change(model__image_size=64)
    of_this_machine(task(), project / "kept")
    assert len(asked) == 2
    (project / "kept" / speeds.FILE).write_text('{"key": ')
    of_this_machine(task(), project / "kept")
    assert len(asked) == 3


def test_what_was_measured_beside_busy_neighbors_serves_only_a_run_that_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(_task: Task, seconds: float) -> Speeds:
        asked.append(seconds)
        return replace(SPEEDS, busy_cores=1.0)

    monkeypatch.setattr(speeds, "_measure_aside", measure)
    for later in (False, True, True):
        assert of_this_machine(task(), project / "kept", later=later).busy_cores == 1
    assert asked == [speeds._SECONDS]
    of_this_machine(task(), project / "kept")
    of_this_machine(task(), project / "elsewhere", later=True)
    assert asked == [speeds._SECONDS, speeds._SECONDS, speeds._SECONDS_LATER]


def test_the_key_names_all_that_the_speeds_depend_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key_of(task())]
    assert key_of(task()) == keys[0]
    for settings in (
        {"model__architecture": "mobilenet_v3_small"},
        {"model__image_size": 48},
        {"tune__image_size": 48, "model__image_size": 48},
        {"training__batch_size": 16},
        {"training__precision": "bf16"},
        {"training__device": "auto"},
        {"data__resize_mode": "pad"},
    ):
        change(**settings)
        keys.append(key_of(task()))
    change()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    keys.append(key_of(task()))
    monkeypatch.undo()
    os.chdir(project)
    monkeypatch.setattr(speeds, "usable_cpus", lambda: 99)
    keys.append(key_of(task()))
    monkeypatch.setattr(speeds, "_processor", lambda: "another")
    keys.append(key_of(task()))
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 0")
    keys.append(key_of(task()))
    (project / "data/images/lying/00.png").unlink()
    keys.append(key_of(task()))
    assert len(set(keys)) == len(keys)


def test_a_measurement_that_fails_is_one_short_reason(project: Path) -> None:
    change(model__architecture="vit_b_16", model__image_size=64, tune__image_size=64)
    with pytest.raises(PipelineError, match="takes images of exactly 224 px"):
        of_this_machine(task(), project / "kept")


def test_a_measurement_that_takes_too_long_is_ended(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "_SECONDS", 0.01)
    with pytest.raises(PipelineError, match="not known after"):
        of_this_machine(task(), project / "kept")


def test_a_run_begins_with_what_it_will_cost_and_says_so_once(
    project: Path, capsys: Capture
) -> None:
    assert main(["step", "validate"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("forecast  about ")
    for step in ("validate", "tune", "train", "evaluate", "register"):
        assert f"{step} " in first
    assert first.count("iB") == 6
    assert not any(line.startswith("forecast") for line in others)
    assert (project / "cache" / speeds.FILE).exists()


def test_no_failure_of_a_forecast_ends_a_run(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_task: Task, _cache: Path, *, later: bool) -> Speeds:
        raise ZeroDivisionError("of\nlines")

    monkeypatch.setattr(speeds, "of_this_machine", broken)
    assert main(["step", "validate"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "forecast  not known: ZeroDivisionError: of"


def test_the_first_line_can_be_switched_off(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(forecast.VARIABLE, "1")
    assert main(["step", "validate"]) == 0
    assert "forecast" not in capsys.readouterr().out


def test_without_images_nothing_is_forecast(project: Path) -> None:
    shutil.rmtree("data/images")
    assert forecast.first_line(validate.Paths()) == (
        "forecast  not known: data/images: does not exist"
    )
    (project / "data/images/only").mkdir(parents=True)
    assert "too few images" in forecast.first_line(validate.Paths())
