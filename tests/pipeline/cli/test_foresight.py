"""What can be known before training is said before it: by check, validate and doctor."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import validate
from components.io import params
from components.tracking.store import Store
from pipeline import foresight, sample_data
from pipeline.cli import main
from pipeline.doctor import forecast
from pipeline.image_folder import look
from tests.components.conftest import ROOT, write_params
from tests.factories import change_settings
from tests.registry import NAME, add_promoted

Capture = pytest.CaptureFixture[str]

LENIENT = {
    "register.model_name": "stripes",
    "register.gate.min_accuracy": 0.4,
    "register.gate.min_test_images": 5,
    "register.gate.min_test_images_per_class": 2,
    "register.gate.non_inferiority_margin": 0.6,
}


@pytest.fixture
def project(workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """48 images in two classes, validated, as the current folder; no store of MLflow."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "project"
    shutil.copytree(workspace.root, root)
    shutil.copy(ROOT / "dvc.yaml", root)
    write_params(root / "params.yaml", LENIENT)
    monkeypatch.chdir(root)
    return root


def demand(**changes: object) -> None:
    named = {f"register.gate.{name}": value for name, value in changes.items()}
    write_params(Path("params.yaml"), {**LENIENT, **named})


def warnings_of(capsys: Capture, *words: str) -> list[str]:
    assert main(list(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.partition("warning: ")[2] for line in lines if "warning: " in line]


def notices() -> list[str]:
    return foresight.notices(validate.Paths())


def test_nothing_is_said_where_nothing_is_in_the_way(project: Path, capsys: Capture) -> None:
    assert warnings_of(capsys, "check") == []


def test_check_says_what_the_gate_will_refuse_whatever_is_trained(
    project: Path, capsys: Capture
) -> None:
    demand(min_test_images_per_class=50)
    (found,) = warnings_of(capsys, "check")
    assert found.startswith("no model can pass: too few test images of lying (")
    assert found.endswith("min_test_images_per_class 50 takes 334 images of every class")


def test_validate_says_it_when_it_has_passed(project: Path, capsys: Capture) -> None:
    demand(min_test_images=200)
    (found,) = warnings_of(capsys, "step", "validate")
    assert "test images; min_test_images 200 takes 1,334 images" in found


def test_the_last_validation_counts_if_it_saw_these_files(project: Path) -> None:
    settings = params.load(Path("params.yaml"), foresight.Settings)
    images = Path("data/images")
    validated = foresight.held_out(validate.Paths(), look(images), settings)
    assert validated.group_sizes == [1] * validated.total
    (images / "lying/00.png").rename(images / "lying/renamed.png")
    assert foresight.held_out(validate.Paths(), look(images), settings).group_sizes is None
    (images / "lying/renamed.png").rename(images / "lying/00.png")
    (images / "lying/.DS_Store").write_bytes(b"junk")
    assert foresight.held_out(validate.Paths(), look(images), settings) == validated


def test_without_a_validation_the_expected_test_images_count(project: Path) -> None:
    shutil.rmtree("artifacts")
    demand(min_test_images_per_class=4)
    (found,) = notices()  # 24 images: 3.6 for test
    assert "lying (3), standing (3); min_test_images_per_class 4 takes 27 images" in found


def test_a_ready_made_split_is_counted(
    project: Path, class_folders: Callable[[Path, dict[str, int]], Path]
) -> None:
    shutil.rmtree("data/images")
    for split in ("train", "val", "test"):
        class_folders(Path("data/images") / split, {"cat": 9, "dog": 7})
    demand(min_test_images_per_class=8)
    (found,) = notices()
    assert found.endswith(
        "too few test images of dog (7); min_test_images_per_class 8 takes 8 test images of every "
        "class"
    )


def test_a_model_heavier_than_allowed_is_foreseen(project: Path) -> None:
    write_params(Path("params.yaml"), {**LENIENT, "model.architecture": "resnet101"})
    (found,) = notices()
    assert "the model will have 170 MB, max_model_mb is 100" in found


def test_without_images_nothing_is_said(project: Path, capsys: Capture) -> None:
    shutil.rmtree("data/images")
    assert warnings_of(capsys, "check") == []


def sample_project(changes: dict[str, object]) -> None:
    import yaml

    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(change_settings(raw, changes)))


def test_the_samples_settings_on_other_images_are_named(project: Path) -> None:
    sample_project({})
    (found,) = [text for text in notices() if "the sample's" in text]
    assert found.startswith("params.yaml: register.model_name, training.augmentation, ")
    assert "`python -m pipeline init FOLDER --name NAME`" in found
    sample_project({"register.model_name": "mine"})
    assert any("the sample's" in text for text in notices())
    sample_project({"register.model_name": "mine", "training.rotate_90": False})
    assert not any("the sample's" in text for text in notices())


def test_the_sample_may_have_the_samples_settings(project: Path) -> None:
    sample_project({})
    shutil.rmtree("data/images")
    for name in sample_data.CLASS_NAMES:
        (Path("data/images") / name).mkdir(parents=True)
    shutil.copy(ROOT / "data/images.dvc", "data/images.dvc")
    assert foresight.sample_settings(look(Path("data/images"))) == ""
    text = Path("data/images.dvc").read_text()
    Path("data/images.dvc").write_text(text.replace("md5: 4", "md5: 5"))
    assert "the sample's" in foresight.sample_settings(look(Path("data/images")))


def test_a_champion_with_other_classes_is_foreseen(
    project: Path, opened: Store, verified: None, tmp_path: Path
) -> None:
    add_promoted(opened, tmp_path, "a")
    write_params(Path("params.yaml"), {**LENIENT, "register.model_name": NAME})
    assert notices() == [
        (
            f"the champion, {NAME} version 1, lacks lying, standing and also knows bad, good: a "
            "new model will be blocked until a person approves it; for another task set "
            "register.model_name"
        )
    ]
    assert forecast.champion().status == "warn"
    for old, new in (("lying", "bad"), ("standing", "good")):
        (Path("data/images") / old).rename(Path("data/images") / new)
    assert notices() == []
    assert forecast.champion().status == "pass"


def test_a_store_that_cannot_be_asked_is_said_and_stops_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mlflow.db").write_text("no database")
    (found,) = notices()
    assert found.startswith("the champion's classes are not known: MLflow's database ")


def test_an_empty_store_is_not_opened(project: Path) -> None:
    Path("mlflow.db").touch()
    assert notices() == []
    assert Path("mlflow.db").stat().st_size == 0


def test_doctor_finds_missing_weights_before_a_run_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(project / "torch"))
    assert forecast.weights()[:2] == ("pass", "random")
    write_params(Path("params.yaml"), {**LENIENT, "model.weights": "imagenet"})
    absent = forecast.weights()
    assert absent.status == "warn"
    assert "resnet18-f37072fd.pth is not in torchvision's cache" in absent.found
    assert "the next run downloads it" in absent.hint
    broken = project / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"half")
    assert forecast.weights().status == "fail"
    write_params(Path("params.yaml"), {**LENIENT, "model.weights": "mine.safetensors"})
    assert forecast.weights().status == "fail"


def test_doctor_has_the_other_findings_as_rows(project: Path) -> None:
    assert {name: check().status for name, check in forecast.checks().items()} == dict.fromkeys(
        ("weights", "sample", "gate", "champion"), "pass"
    )
    demand(min_test_images=200)
    gate = forecast.gate()
    assert gate.status == "warn"
    assert "min_test_images 200 takes 1,334 images" in gate.found
    sample_project({})
    assert forecast.sample().status == "warn"
