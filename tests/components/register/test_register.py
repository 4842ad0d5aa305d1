"""The step with planted models in a real registry: better, equal, worse, and broken ones."""

import base64
import csv
import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient, pyfunc
from pydantic import ValidationError

from components import register
from components.core.artifacts import Evaluation
from components.core.errors import ChangedInput, PipelineError, ServiceUnavailable
from components.core.gate.record import DecisionRecord
from components.io import files, models
from components.registry import promotion, versions
from components.tracking import server
from components.tracking.store import open_store
from pipeline.verify_decision import verify
from tests.planted import (
    NAME,
    Planted,
    evaluate_model,
    plant_data,
    plant_model,
    register_model,
    settings,
    validate_again,
)

Register = Callable[..., DecisionRecord]

# Rows of the test split that a model gets wrong.
FEW, MANY = range(0, 216, 12), range(0, 216, 3)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """360 images, 216 of them in the test split."""
    return plant_data(tmp_path_factory.mktemp("planted"), {"intact": 180, "scratch|ed": 180})


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
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Skips loading packages in fresh processes, which takes seconds; notes what it was asked."""
    asked: list[str] = []

    def note(_store: object, model_id: str, *_: object) -> None:
        asked.append(model_id)

    monkeypatch.setattr(versions, "verify", note)
    return asked


@pytest.fixture
def model(planted: Planted, client: MlflowClient) -> Callable[..., Path]:
    """model(name, wrong rows, salt) -> an evaluated model folder. Copy it before you change it."""

    def make(name: str, wrong: range = range(0), salt: int = 0) -> Path:
        folder = planted.root / "models" / name
        if not folder.exists():
            plant_model(planted, name, wrong, salt)
            evaluate_model(planted, folder)
        return folder

    return make


def aliases(client: MlflowClient) -> dict[str, str]:
    return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def failing(record: DecisionRecord) -> list[str]:
    return [check.name for check in record.outcome.checks if check.status in ("fail", "error")]


def out(planted: Planted, folder: Path) -> Path:
    return planted.root / "registered" / folder.name


def test_a_first_good_model_becomes_champion_and_loads_from_the_registry(
    planted: Planted, model: Callable[..., Path], client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = model("few", FEW)
    record = register_model(planted, folder)

    assert record.outcome.verdict == "passed"
    assert record.outcome.first_model
    assert record.evidence.champion.state == "none"
    assert record.data_diff.baseline == ""
    assert aliases(client) == {"candidate": "1", "champion": "1"}
    printed = capsys.readouterr().out
    assert "register  passed 0.917 accuracy on 216 test images" in printed
    assert f"champion is version 1: models:/{NAME}@champion" in printed
    assert f"register  report: {out(planted, folder) / 'report/index.html'}" in printed
    version = client.get_model_version(NAME, "1")
    assert str(version.description).startswith("passed 0.917 ")
    assert version.tags["model"] == version.tags["verified"] == files.digest_folder(folder)
    assert version.tags["test"] == record.evidence.test_digest

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    row = planted.test.iloc[1]
    image = (planted.data_paths.images / row["path"]).read_bytes()
    served = pyfunc.load_model(f"models:/{NAME}@champion")
    good, bad = served.predict([base64.b64encode(image).decode(), "%"])
    assert good["label"] == row["label"]
    assert bad == {"error": "not base64"}


@pytest.mark.row("P03")
def test_a_second_run_changes_nothing_anywhere(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    register_model(planted, model("many", MANY))
    register_model(planted, model("few", FEW))
    decision = out(planted, model("few", FEW)) / "decision.json"
    page = decision.parent / "report/index.html"
    before, records, drawn = decision.read_bytes(), events_of(client), page.stat().st_ino

    capsys.readouterr()
    register_model(planted, model("few", FEW))

    assert decision.read_bytes() == before
    assert page.stat().st_ino == drawn, "the page shows all that there is"
    assert events_of(client) == records
    assert len(quick) == 2
    assert f"already registered: {NAME} version 2" in capsys.readouterr().out
    assert aliases(client) == {"candidate": "2", "champion": "2", "previous": "1"}


@pytest.mark.parametrize("harm", ["lost", "of other results", "not in MLflow"])
def test_a_page_that_does_not_show_the_results_is_drawn_again(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, harm: str
) -> None:
    folder = model("few", FEW)
    register_model(planted, folder)
    page = out(planted, folder) / "report/index.html"
    whole = page.read_bytes()
    if harm == "lost":
        page.unlink()
    elif harm == "of other results":
        page.write_bytes(whole.replace(b"<!-- ", b"<!-- 0"))
    else:
        version = client.get_model_version(NAME, "1")
        client.set_tag(str(version.run_id), "report", "of another page")
        page.write_bytes(whole.replace(b"<body", b"<body "))
    register_model(planted, folder)
    assert page.read_bytes() == whole


def events_of(client: MlflowClient) -> dict[str, str]:
    run = client.get_run(client.get_registered_model(NAME).tags["audit_log"])
    return dict(run.data.params)


@pytest.mark.row("P13")
def test_a_better_model_replaces_the_champion_on_the_same_images(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    register_model(planted, model("many", MANY))
    folder = model("few", FEW)
    record = register_model(planted, folder, **{"register.gate.champion_test": "superior"})

    assert record.outcome.verdict == "passed"
    assert aliases(client) == {"candidate": "2", "champion": "2", "previous": "1"}
    champion = pd.read_parquet(out(planted, folder) / "comparison/champion.parquet")
    wrong = np.flatnonzero(champion["label"] != champion["predicted"])
    assert wrong.tolist() == list(MANY), "these are the champion's own predictions, made now"
    with (out(planted, folder) / "comparison/changes.csv").open(newline="") as table:
        changes = list(csv.DictReader(table))
    assert [c["change"] for c in changes] == ["newly right"] * (len(MANY) - len(FEW))
    page = (out(planted, folder) / "report/index.html").read_text()
    assert "<title>passed: cells version 2</title>" in page
    gallery = page.partition('id="champion"')[2].partition("<h2")[0]
    assert gallery.count('<img src="data:image/jpeg;base64,') == 12
    shown = set(re.findall(r'<div class="code soft">(.+?)</div>', gallery))
    assert len(shown) == 12
    assert shown <= {c["path"] for c in changes}
    assert "54 newly right, 0 newly wrong" in describe(client, "2")
    assert "Since the champion's data: nothing changed." in describe(client, "2")


def describe(client: MlflowClient, version: str) -> str:
    text = str(client.get_model_version(NAME, version).description)
    assert len(text) <= 4500
    return text


def test_a_worse_model_is_registered_but_the_champion_stays(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    register_model(planted, model("few", FEW))
    capsys.readouterr()
    record = register_model(planted, model("many", MANY), **{"register.gate.min_accuracy": 0.1})

    assert record.outcome.verdict == "blocked"
    assert "champion" in failing(record)
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    printed = capsys.readouterr().out
    assert "champion stays version 1\n" in printed
    assert 'python -m pipeline approve 2 --reason "..."' in printed
    assert describe(client, "2").startswith("blocked 0.667 ")
    assert "pipeline approve 2" in describe(client, "2")


@pytest.mark.row("P08")
def test_a_first_model_must_still_meet_every_bound(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    record = register_model(planted, model("many", MANY), **{"register.gate.min_accuracy": 0.8})
    assert record.outcome.first_model
    assert failing(record) == ["accuracy"]
    assert aliases(client) == {"candidate": "1"}


def test_an_equal_model_is_no_worse_but_not_superior(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    register_model(planted, model("few", FEW))
    twin = model("twin", FEW, 1)
    blocked = register_model(planted, twin, **{"register.gate.champion_test": "superior"})
    assert failing(blocked) == ["champion"]
    assert aliases(client)["champion"] == "1"
    assert register_model(planted, twin).outcome.verdict == "passed"
    assert aliases(client)["champion"] == "2"


@pytest.mark.row("D23", "P09")
def test_a_champion_with_other_classes_needs_a_person(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    register_model(planted, model("few", FEW))
    other = plant_data(tmp_path / "other", {"intact": 120, "dented": 120, "rusty": 120})
    plant_model(other, "three")
    evaluate_model(other, other.root / "models/three")
    record = register_model(other, other.root / "models/three")
    assert record.evidence.champion.state == "other_classes"
    assert record.outcome.verdict == "blocked"
    assert aliases(client)["champion"] == "1"


@pytest.mark.row("P09")
def test_an_unreadable_champion_is_an_error_and_not_a_first_model(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    register_model(planted, model("many", MANY))
    stored = str(client.get_model_version(NAME, "1").source).removeprefix("models:/")
    location = Path(client.get_logged_model(stored).artifact_location)
    shutil.rmtree(planted.cache / "champions", ignore_errors=True)
    shutil.rmtree(location)
    with pytest.raises(PipelineError, match=r"no decision is possible: .*champion"):
        register_model(planted, model("few", FEW))
    record = files.read_artifact(out(planted, model("few", FEW)) / "decision.json", DecisionRecord)
    assert record.outcome.verdict == "error"
    assert record.evidence.champion.state == "unusable"
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    assert client.get_model_version(NAME, "2").tags["gate"] == "error"


@pytest.mark.row("P21")
def test_a_champion_that_was_moved_by_hand_blocks_until_somebody_looks(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    register_model(planted, model("many", MANY))
    register_model(planted, model("few", FEW))
    client.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(PipelineError, match="no decision is possible"):
        register_model(planted, model("perfect"))
    assert aliases(client)["champion"] == "1"
    assert "the alias champion cannot be trusted" in capsys.readouterr().out


def test_a_model_that_was_rolled_back_does_not_return_by_itself(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    register_model(planted, model("many", MANY))
    register_model(planted, model("few", FEW))
    with open_store() as store:
        champion = promotion.current_champion(store, NAME)
        promotion.promote(store, NAME, "1", over=champion, trigger="rolled_back", reason="flicker")
    record = register_model(planted, model("few", FEW))
    assert failing(record) == ["revocation"]
    assert "flicker" in record.outcome.checks[0].message
    assert aliases(client)["champion"] == "1"


@pytest.mark.row("P05")
def test_a_champion_that_changes_meanwhile_is_compared_with_again(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    register_model(planted, model("many", MANY))
    register_model(
        planted, model("perfect"), **{"register.gate.max_accuracy": 0.999}
    )  # blocked: implausible
    original = versions.record_decision
    calls: list[int] = []

    def slow(*args: object, **kwargs: object) -> None:
        original(*args, **kwargs)  # type: ignore[arg-type]
        if not calls:
            calls.append(1)
            with open_store() as store:
                champion = promotion.current_champion(store, NAME)
                promotion.promote(
                    store, NAME, "2", over=champion, trigger="approved", reason="checked"
                )

    monkeypatch.setattr(versions, "record_decision", slow)
    capsys.readouterr()
    record = register_model(planted, model("few", FEW))

    assert "the champion has changed meanwhile: comparing again" in capsys.readouterr().out
    assert record.evidence.champion.model_digest == files.digest_folder(model("perfect"))
    assert record.outcome.verdict == "blocked"
    assert aliases(client) == {"candidate": "3", "champion": "2", "previous": "1"}


def test_models_evaluated_on_one_test_set_are_counted(
    planted: Planted, tmp_path: Path, model: Callable[..., Path], client: MlflowClient,
    quick: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/fresh.db")
    folders = [model("many", MANY), model("few", FEW), model("perfect")]
    uses = [register_model(planted, folder).evidence.previous_test_uses for folder in folders]
    again = [register_model(planted, folder).evidence.previous_test_uses for folder in folders]
    assert uses == again == [0, 1, 2]


@pytest.mark.row("D34")
def test_changed_data_are_told_apart_from_the_champions(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    register_model(planted, model("many", MANY))
    root = tmp_path / "grown"
    shutil.copytree(planted.root / "data", root / "data")
    shutil.rmtree(root / "data/images/intact/deep", ignore_errors=True)
    (root / "data/images/intact/000.png").unlink()
    grown = Planted(root)
    added = plant_data(tmp_path / "more", {"a": 3, "b": 3}, **{"validate.min_images": 3,
                       "validate.min_images_per_class": 3})  # fmt: skip
    for number, path in enumerate(sorted(added.data_paths.images.rglob("*.png"))):
        shutil.copy(path, root / f"data/images/intact/new-{number}.png")
    validate_again(grown)
    plant_model(grown, "grown", FEW)
    evaluate_model(grown, root / "models/grown")
    diff = register_model(grown, root / "models/grown").data_diff
    assert (diff.added, diff.removed, diff.relabeled) == (6, 1, 0)
    assert diff.examples["removed"] == ["intact/000.png"]
    assert "6 added, 1 removed" in describe(client, "2")


def test_a_decision_is_recomputed_to_the_byte_and_a_tampered_one_is_not(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    register_model(planted, model("many", MANY))
    register_model(planted, model("few", FEW))
    run = client.get_run(str(client.get_model_version(NAME, "2").run_id))
    kept = Path(shutil.copytree(f"{run.info.artifact_uri}/register", tmp_path / "kept"))
    decision = kept / "decision.json"
    assert verify(decision).endswith("passed, recomputed from 216 predictions, same bytes")

    content = json.loads(decision.read_text())
    files.write_text(decision, files.to_json(DecisionRecord.model_validate(content)))
    assert "same bytes" in verify(decision)
    content["outcome"]["verdict"] = "blocked"
    files.write_text(decision, files.to_json(DecisionRecord.model_validate(content)))
    with pytest.raises(ChangedInput, match=r"says blocked, but its evidence gives passed"):
        verify(decision)
    for name in ("predictions.parquet", "champion.parquet", "evaluation.json"):
        (kept / name).write_bytes((kept / name).read_bytes() + b" ")
        with pytest.raises(ChangedInput, match=name):
            verify(decision)
        (kept / name).write_bytes((kept / name).read_bytes()[:-1])


def test_an_experiment_is_evaluated_but_not_registered_unless_params_say_so(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = model("few", FEW)
    monkeypatch.setenv("DVC_EXP_NAME", "hazy-owl")
    record = register_model(planted, folder)
    assert record.outcome.verdict == "passed"
    assert record.version is None
    assert client.search_registered_models() == []
    assert "Not registered, because this is a DVC experiment" in capsys.readouterr().out
    assert register_model(planted, folder, **{"register.from_experiments": True}).version == "1"


def flip_a_weight(model: Path, _: Path) -> None:
    content = bytearray((model / models.WEIGHTS).read_bytes())
    content[-1] ^= 1
    files.write_bytes(model / models.WEIGHTS, bytes(content))


def edited(**values: object) -> Callable[[Path, Path], None]:
    def edit(_: Path, evaluated: Path) -> None:
        path = evaluated / "evaluation.json"
        files.write_text(path, json.dumps(json.loads(path.read_text()) | values))

    return edit


def swap_predictions(_: Path, evaluated: Path) -> None:
    """A table of other images, with an evaluation that names its digest."""
    path = evaluated / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "path"] = "intact/other.png"
    table.to_parquet(path, index=False)
    edited(predictions_sha256=files.digest_file(path))(Path(), evaluated)


@pytest.mark.row("P01", "P02")
@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (flip_a_weight, "its digest is"),
        (lambda m, _: (m / "notes.txt").write_text("x"), "its digest is"),
        (lambda m, _: shutil.rmtree(m), "card.json: does not exist"),
        (lambda _, e: files.write_text(e / "predictions.parquet", "x"), "it was changed"),
        (lambda _, e: (e / "predictions.parquet").unlink(), "parquet: does not exist"),
        (lambda _, e: (e / "latency.json").unlink(), "latency.json: does not exist"),
        (edited(model_digest="e" * 64), "was made with eeeeeeeeeeee"),
        (edited(predictions_sha256="e" * 64), "but eeeeeeeeeeee is recorded"),
        (edited(data_digest="e" * 64), "evaluation.json: its data digest is ee"),
        (edited(test_digest="e" * 64), "evaluation.json: its test digest is ee"),
        (edited(extra=1), "evaluation.json: is not a Evaluation"),
        (edited(per_class=[]), "its classes are not those of"),
        (swap_predictions, "its images, labels or groups are not the test split"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tamper: Callable[[Path, Path], object], named: str, planted: Planted,
    model: Callable[..., Path], client: MlflowClient, tmp_path: Path,
) -> None:  # fmt: skip
    original = model("few", FEW)
    folder = shutil.copytree(original, planted.root / "models/tampered", dirs_exist_ok=True)
    evaluated = planted.root / "evaluated/tampered"
    shutil.copytree(planted.root / "evaluated/few", evaluated, dirs_exist_ok=True)
    try:
        tamper(folder, evaluated)
        with pytest.raises(PipelineError) as caught:
            register_model(planted, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(evaluated)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert client.search_registered_models() == []
    assert not (out(planted, folder) / "decision.json").exists()


def test_the_decision_is_about_the_predictions_whatever_evaluation_json_says(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    folder = model("many", MANY)
    path = planted.root / "evaluated/many/evaluation.json"
    before = path.read_bytes()
    written = files.read_artifact(path, Evaluation)
    better = written.metrics.model_copy(update={"accuracy": 0.99})
    files.write_artifact(path, written.model_copy(update={"metrics": better}))
    try:
        record = register_model(planted, folder, **{"register.gate.min_accuracy": 0.8})
    finally:
        files.write_bytes(path, before)
    assert failing(record) == ["accuracy"]
    assert record.outcome.accuracy is not None
    assert record.outcome.accuracy.value == 144 / 216
    assert describe(client, "1").startswith("blocked 0.667 ")


def test_latency_counts_only_where_it_is_bounded(
    planted: Planted, model: Callable[..., Path], client: MlflowClient, quick: list[str]
) -> None:
    folder = model("few", FEW)
    assert register_model(planted, folder).evidence.latency_p95_ms is None
    bounded = register_model(planted, folder, **{"register.gate.max_latency_ms": 0.001})
    assert failing(bounded) == ["latency"]


def test_a_dead_server_is_a_service_that_does_not_answer(
    planted: Planted, model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model("few", FEW)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv(server.OUTAGE, "1")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        register_model(planted, folder)


@pytest.mark.row("C07")
@pytest.mark.parametrize("name", ["", "a/b", "a:b", " a", "-a", "a" * 101, "models@x", "\u00e9"])
def test_names_that_a_registry_cannot_hold_are_refused(planted: Planted, name: str) -> None:
    sound = settings(planted, register.Params, {}).register.model_dump()
    register.RegisterParams.model_validate(sound)
    with pytest.raises(ValidationError):
        register.RegisterParams.model_validate({**sound, "model_name": name})
