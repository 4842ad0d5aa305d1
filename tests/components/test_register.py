import base64
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient, pyfunc
from pydantic import ValidationError

from components import register
from components.core.artifacts import Evaluation, ModelCard, Receipt, ValidationReport
from components.core.images import ImageParams
from components.core.metrics import measure
from components.core.model import build
from components.io import files, models
from components.io.tracking import registry
from components.io.tracking.verification import golden_images

NAME = "cells"
CLASSES = ["good cell", "bad|cell"]
GATE = {"min_accuracy": 0.7, "min_macro_f1": 0.65, "min_class_recall": 0.5, "min_test_images": 200}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and evidence of 170 right answers in 200: the interval begins at 0.794."""
    project = tmp_path_factory.mktemp("template")
    model = project / "model"
    card = ModelCard(
        architecture="resnet18",
        class_names=CLASSES,
        image_size=32,
        images=ImageParams(
            formats=["PNG"], max_pixels=9999, multi_frame="refuse", background=(0, 0, 0), fit="crop"
        ),
        temperature=1.7,
        weights_sha256=models.save_weights(model, build("resnet18", 2).state_dict()),
        initial_weights="random",
        data_digest="d" * 64,
        training_key="e" * 64,
        settings={"learning_rate": 0.001},
        best_epoch=1,
        val_loss=0.6,
    )
    models.save_card(model, card)
    report = ValidationReport(
        success=True,
        data_digest=card.data_digest,
        class_names=CLASSES,
        **dict.fromkeys(("found", "used", "quarantined", "ignored", "duplicates"), 600),
        counts={name: {"train": 300, "val": 100, "test": 100} for name in CLASSES},
        rules=[],
    )
    files.write_artifact(project / "report.json", report)
    files.write_text(project / "predictions.parquet", "predictions")
    logits = np.eye(2, dtype=np.float32)[np.repeat([0, 1, 0, 1], [90, 10, 20, 80])]
    found = measure(logits, np.repeat([0, 1], 100), CLASSES, temperature=1.7, bins=15)
    evaluation = Evaluation(
        metrics=found[0],
        per_class=found[1],
        confusion=found[2].tolist(),
        model_digest=files.digest_folder(model),
        data_digest=card.data_digest,
        predictions_sha256=files.digest_file(project / "predictions.parquet"),
    )
    files.write_artifact(project / "evaluation.json", evaluation)
    return project


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """The template again, as links: files are replaced, never changed in place."""
    return Path(shutil.copytree(template, tmp_path / "project", copy_function=os.link))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def client(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """One real store for all tests of this file, without registered models."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    mlflow = MlflowClient(uri)
    yield mlflow
    for model in mlflow.search_registered_models():
        mlflow.delete_registered_model(model.name)


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Skips reading packages back, which takes seconds; the list names those it was asked for."""
    asked: list[str] = []

    def note(_store: object, model_id: str, _folder: Path, _digest: str) -> None:
        asked.append(model_id)

    monkeypatch.setattr(registry, "verify", note)
    return asked


def run(project: Path, *, from_experiments: bool = False, **thresholds: float) -> Receipt:
    section = {"model_name": NAME, "from_experiments": from_experiments, "gate": GATE | thresholds}
    params = register.Params(register=register.RegisterParams.model_validate(section))
    register.run(**paths(project), params=params)
    return files.read_artifact(project / "decision.json", Receipt)


def command(project: Path) -> int:
    """The step as DVC runs it."""
    section = {"model_name": NAME, "from_experiments": False, "gate": GATE}
    (project / "params.yaml").write_text(yaml.safe_dump({"register": section}))
    arguments = [text for name, path in paths(project).items() for text in (f"--{name}", str(path))]
    return register.main([*arguments, "--params", str(project / "params.yaml")])


def paths(project: Path) -> dict[str, Path]:
    names = ("model", "evaluation.json", "predictions.parquet", "report.json", "decision.json")
    return {name.partition(".")[0]: project / name for name in names}


def aliases(client: MlflowClient) -> dict[str, str]:
    return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def edit(path: Path, **values: object) -> None:
    files.write_text(path, json.dumps(json.loads(path.read_text()) | values))


def test_a_good_model_becomes_champion_and_loads_from_the_registry(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    receipt = run(project)
    printed = capsys.readouterr().out
    assert printed.startswith("register  PASS 0.850 accuracy on 200 test images (95 %: 0.794 to")
    assert "champion is version 1" in printed
    assert receipt.version == "1"
    assert receipt.decision.verdict == "promote"
    assert receipt.model_digest == files.digest_folder(project / "model")
    assert aliases(client) == {"candidate": "1", "champion": "1"}

    version = client.get_model_version(NAME, "1")
    assert str(version.description).startswith("PASS 0.850 ")
    assert version.tags["model"] == version.tags["verified"] == receipt.model_digest
    stored = client.get_run(str(version.run_id))
    assert stored.info.status == "FINISHED"
    assert stored.outputs is not None
    assert [f"models:/{m.model_id}" for m in stored.outputs.model_outputs] == [version.source]
    kept = Path(stored.info.artifact_uri) / "register/decision.json"
    assert kept.read_bytes() == (project / "decision.json").read_bytes()

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = pyfunc.load_model(f"models:/{NAME}@champion")
    image = golden_images(models.load_card(project / "model"))[0]
    good, bad = model.predict([base64.b64encode(image).decode(), "no image"])
    assert good["label"] in CLASSES
    assert bad == {"error": "not base64"}


def test_a_second_run_creates_nothing_and_writes_the_same_bytes(
    project: Path, client: MlflowClient, unverified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(project)
    before = (project / "decision.json").read_bytes()
    run(project)
    assert (project / "decision.json").read_bytes() == before
    assert len(unverified) == 1
    assert "already registered: cells version 1" in capsys.readouterr().out


def test_a_refused_model_is_registered_but_the_champion_stays(
    project: Path, client: MlflowClient, unverified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(project)
    (project / "model/notes.txt").write_text("another model")
    edit(project / "evaluation.json", model_digest=files.digest_folder(project / "model"))
    capsys.readouterr()
    receipt = run(project, min_accuracy=0.8)
    assert receipt.version == "2"
    assert receipt.decision.verdict == "hold"
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    printed = capsys.readouterr().out
    assert printed.startswith("register  HOLD 0.850 ")
    assert "accuracy is at least 0.794" in printed
    assert "champion stays version 1\n" in printed


def test_the_champion_stays_though_its_verdict_fell(
    project: Path, client: MlflowClient, unverified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(project, min_test_images=201).decision.verdict == "hold"
    assert aliases(client) == {"candidate": "1"}
    assert "there is no champion yet" in capsys.readouterr().out
    run(project)
    assert run(project, min_accuracy=0.9).version == "1"
    assert aliases(client) == {"candidate": "1", "champion": "1"}
    assert "champion stays version 1, this model" in capsys.readouterr().out


def test_a_refusal_exits_with_0(
    project: Path, client: MlflowClient, unverified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "evaluation.json", confusion=[[90, 10], [10, 90]])
    assert command(project) == 0
    assert capsys.readouterr().out.startswith("register  ERROR 0.850 ")
    assert aliases(client) == {"candidate": "1"}
    assert client.get_model_version(NAME, "1").tags["gate"] == "error"


def test_an_experiment_is_judged_but_not_registered(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DVC_EXP_NAME", "hazy-owl")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/never.db")
    receipt = run(project)
    assert receipt.decision.verdict == "promote"
    assert receipt.version is None
    assert not (tmp_path / "never.db").exists()
    assert "not registered: this is a DVC experiment" in capsys.readouterr().out


def test_an_experiment_is_registered_if_params_say_so(
    project: Path, client: MlflowClient, unverified: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "hazy-owl")
    assert run(project, from_experiments=True).version == "1"


def flip_a_weight(project: Path) -> None:
    weights = project / "model" / models.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    files.write_bytes(weights, bytes(content))


def edited(file: str, **values: object) -> Callable[[Path], None]:
    return lambda project: edit(project / file, **values)


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (flip_a_weight, "model: its digest is"),
        (lambda p: (p / "model/notes.txt").write_text("x"), "model: its digest is"),
        (lambda p: shutil.rmtree(p / "model"), "card.json: does not exist"),
        (lambda p: files.write_text(p / "predictions.parquet", "x"), "parquet: its digest is"),
        (lambda p: (p / "predictions.parquet").unlink(), "parquet: does not exist"),
        (edited("evaluation.json", data_digest="e" * 64), "evaluation.json: its data digest is ee"),
        (edited("evaluation.json", extra=1), "evaluation.json: is not a Evaluation"),
        (edited("evaluation.json", per_class=[]), "its classes are not those of"),
        (edited("report.json", data_digest="e" * 64), "report.json: its data digest is ee"),
        (edited("report.json", class_names=CLASSES[::-1]), "its classes are not those of"),
        (edited("report.json", success=False), "report.json: the images break a rule"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tamper: Callable[[Path], object], named: str, project: Path, client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tamper(project)
    assert command(project) == 1
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert client.search_registered_models() == []
    assert not (project / "decision.json").exists()


def test_a_dead_server_is_found_within_30_seconds(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    assert command(project) == 5
    assert time.monotonic() - started < 30
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a/b", "a:b", " a", "-a", "a" * 101, "models@x", "\u00e9"])
def test_names_that_a_registry_cannot_hold_are_refused(name: str) -> None:
    settings = {"model_name": "a.b-c_1", "from_experiments": False, "gate": GATE}
    register.RegisterParams.model_validate(settings)
    with pytest.raises(ValidationError):
        register.RegisterParams.model_validate({**settings, "model_name": name})
