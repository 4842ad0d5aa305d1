"""The step on real images, with a network of random weights: its numbers need not be good."""

import contextlib
import csv
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from components import evaluate
from components.core.artifacts import (
    Evaluation,
    Latency,
    Metrics,
    ValidationReport,
    split_digest,
)
from components.core.errors import ChangedInput, InvalidData, MissingInput, PipelineError
from components.core.gate.decide import decide
from components.io import files, models
from components.io.data import predictions as prediction_table
from components.io.params import load
from components.io.reports.plots import predictions as plots
from components.tracking import open_run
from components.tracking.shown import describe
from tests import factories
from tests.components.conftest import Settings, Workspace, write_params

TABLES = {"confusion.csv", "errors.csv", "per_class.csv", "reliability.csv", "roc.csv"}
PLOTS = {"confusion.png", "per_class.png", "reliability.png", "top_losses.png"}

Outputs = dict[str, Path]
Evaluate = Callable[..., Outputs]


@dataclass(frozen=True)
class Done:
    """A finished step: its files, its lines, and the MLflow store it logged to."""

    outputs: Outputs
    lines: list[str]
    store: str


def write_model(folder: Path, report: ValidationReport) -> None:
    import torch

    from components.core.training.architectures import build_network

    torch.manual_seed(0)
    network = build_network("resnet18", len(report.class_names))
    params = load(write_params(folder.parent / "params.yaml", {}), evaluate.Params)
    card = factories.model_card(
        class_names=report.class_names,
        images=params.data.decode_params,
        weights_sha256=models.save_weights(folder, network.state_dict()),
        data_digest=report.data_digest,
        training_key=str(folder),
    )
    models.save_card(folder, card)


def change_card(folder: Path, **values: object) -> None:
    card = models.load_card(folder)
    models.save_card(folder, card.model_copy(update=values))


@pytest.fixture(scope="module")
def original(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder. Do not change its files: copy them."""
    folder = tmp_path_factory.mktemp("evaluate") / "model"
    write_model(folder, files.read_artifact(workspace.inputs["report"], ValidationReport))
    return folder


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    """A model folder to change."""
    return shutil.copytree(original, tmp_path / "model")


@pytest.fixture
def run(
    workspace: Workspace, original: Path, settings: Settings, tmp_path: Path, store: str
) -> Evaluate:
    """run({changed params}, changed=inputs) -> the paths that were written."""

    def call(changes: Mapping[str, object] | None = None, **inputs: Path) -> Outputs:
        outputs = outputs_in(tmp_path / "out")
        paths = {**workspace.inputs, "model": original, **inputs}
        evaluate.run(evaluate.Paths(**paths, **outputs), settings(evaluate.Params, changes))
        return outputs

    return call


def outputs_in(folder: Path) -> Outputs:
    return {
        "metrics": folder / "metrics.json",
        "evaluation": folder / "evaluation.json",
        "predictions": folder / "predictions.parquet",
        "latency": folder / "latency.json",
        "plots": folder / "plots",
        "artifacts": folder,
    }


@pytest.fixture(scope="module")
def done(workspace: Workspace, original: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One run for all tests that only look at what it wrote."""
    folder = tmp_path_factory.mktemp("done")
    outputs, text = outputs_in(folder), io.StringIO()
    params = load(write_params(folder / "params.yaml", {}), evaluate.Params)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.chdir(folder)
        evaluate.run(evaluate.Paths(**workspace.inputs, model=original, **outputs), params)
    return Done(outputs, text.getvalue().splitlines(), uri)


def contents(outputs: Outputs) -> dict[str, bytes]:
    """All files but the one that no second run repeats."""
    found = [p for p in (*outputs["plots"].rglob("*"), *outputs.values()) if p.is_file()]
    return {path.name: path.read_bytes() for path in found if path != outputs["latency"]}


def test_numbers_tables_and_plots_are_written(done: Done, original: Path) -> None:
    outputs = done.outputs

    evaluation = files.read_artifact(outputs["evaluation"], Evaluation)
    assert files.read_artifact(outputs["metrics"], Metrics) == evaluation.metrics
    assert evaluation.model_digest == files.digest_folder(original)
    assert evaluation.predictions_sha256 == files.digest_file(outputs["predictions"])
    assert {path.name for path in outputs["plots"].iterdir()} == TABLES | PLOTS | {"heat_maps"}
    with (outputs["plots"] / "confusion.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == evaluation.metrics.num_images


def test_predictions_hold_each_test_image_once_and_agree_with_the_numbers(
    done: Done, workspace: Workspace
) -> None:
    outputs = done.outputs

    evaluation = files.read_artifact(outputs["evaluation"], Evaluation)
    rows = pd.read_parquet(outputs["predictions"])
    manifest = pd.read_parquet(workspace.inputs["manifest"])
    assert rows["path"].tolist() == sorted(manifest.loc[manifest["split"] == "test", "path"])
    assert list(rows.columns) == ["path", "group", "label", "predicted", "p:lying", "p:standing"]
    shares = rows[["p:lying", "p:standing"]]
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * len(rows))
    assert rows["predicted"].tolist() == [
        str(column).removeprefix("p:") for column in shares.idxmax(axis=1)
    ]
    correct = int((rows["label"] == rows["predicted"]).sum())
    assert evaluation.metrics.accuracy == correct / len(rows)
    table = pd.crosstab(rows["label"], rows["predicted"])
    names = [c.name for c in evaluation.per_class]
    table = table.reindex(index=names, columns=names, fill_value=0)
    assert table.to_numpy().tolist() == evaluation.confusion


def test_the_gate_finds_no_contradiction_in_the_evidence(done: Done, workspace: Workspace) -> None:
    evaluation = files.read_artifact(done.outputs["evaluation"], Evaluation)
    predictions = prediction_table.read(done.outputs["predictions"], evaluation.predictions_sha256)

    evidence = factories.evidence(class_names=predictions.class_names)
    outcome = decide(factories.gate_policy(), evidence, predictions, None)

    assert [c.message for c in outcome.checks if c.status == "error"] == []
    assert outcome.accuracy is not None
    assert outcome.accuracy.value == evaluation.metrics.accuracy
    manifest = pd.read_parquet(workspace.inputs["manifest"])
    assert evaluation.test_digest == split_digest(manifest[manifest["split"] == "test"])


def test_the_run_names_the_test_set_of_the_model(done: Done) -> None:
    evaluation = files.read_artifact(done.outputs["evaluation"], Evaluation)
    client = MlflowClient(done.store)
    [experiment] = client.search_experiments(filter_string="name = 'image-classification'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.tags["test"] == evaluation.test_digest


def test_single_images_are_timed(done: Done, workspace: Workspace) -> None:
    found = files.read_artifact(done.outputs["latency"], Latency)
    assert 0 < found.p50_ms <= found.p95_ms < 10_000
    assert found.images == files.read_artifact(done.outputs["metrics"], Metrics).num_images
    assert found.machine.startswith("cpu (")
    assert any(f"95 % at most {found.p95_ms:.0f} ms" in line for line in done.lines)


def test_the_order_of_the_manifest_changes_no_number(
    run: Evaluate, done: Done, workspace: Workspace, tmp_path: Path
) -> None:
    manifest = pd.read_parquet(workspace.inputs["manifest"])
    shuffled = tmp_path / "manifest.parquet"
    manifest.sample(frac=1, random_state=1).to_parquet(shuffled, index=False)

    outputs = run(manifest=shuffled)

    assert outputs["metrics"].read_bytes() == done.outputs["metrics"].read_bytes()
    found, expected = (
        pd.read_parquet(o["predictions"]).sort_values("path", ignore_index=True)
        for o in (outputs, done.outputs)
    )
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_the_batch_size_changes_nothing_beyond_rounding(
    run: Evaluate, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.core.training.inference._PIXELS_AT_ONCE", 2 * 32 * 32)
    pairs = run()

    both = (done.outputs, pairs)
    one, two = (files.read_artifact(o["metrics"], Metrics).model_dump() for o in both)
    assert one == pytest.approx(two, abs=1e-5)
    predicted = [pd.read_parquet(o["predictions"])["predicted"].tolist() for o in both]
    assert predicted[0] == predicted[1]


def test_no_file_outside_the_test_split_is_needed(
    run: Evaluate, done: Done, workspace: Workspace, tmp_path: Path
) -> None:
    images = shutil.copytree(workspace.inputs["images"], tmp_path / "images")
    manifest = pd.read_parquet(workspace.inputs["manifest"])
    for path in manifest.loc[manifest["split"] != "test", "path"]:
        (images / path).write_bytes(b"never read")

    outputs = run(images=images, cache=tmp_path / "empty cache")

    assert contents(outputs) == contents(done.outputs)


def test_images_are_read_as_the_card_says_whatever_params_say(run: Evaluate, done: Done) -> None:
    changed = {"data.resize_mode": "stretch", "data.formats": ["GIF"], "data.max_pixels": 1}

    assert contents(run(changed)) == contents(done.outputs)


@pytest.mark.parametrize(
    "values", [{"data_digest": "0" * 64}, {"class_names": ["standing", "lying"]}]
)
def test_a_model_of_other_data_or_classes_is_refused(
    run: Evaluate, model: Path, values: dict[str, object]
) -> None:
    change_card(model, **values)

    with pytest.raises(ChangedInput, match="dvc repro train"):
        run(model=model)


def test_an_empty_test_split_is_refused(
    run: Evaluate, workspace: Workspace, tmp_path: Path
) -> None:
    report = files.read_artifact(workspace.inputs["report"], ValidationReport)
    counts: Any = {name: {**splits, "test": 0} for name, splits in report.counts.items()}
    path = tmp_path / "report.json"
    files.write_artifact(path, report.model_copy(update={"counts": counts}))

    with pytest.raises(InvalidData, match=r"validate\.split\.test"):
        run(report=path)


@pytest.mark.row("R13")
def test_outputs_that_are_not_finite_leave_nothing_behind(
    run: Evaluate, model: Path, tmp_path: Path
) -> None:
    network = models.load(model).network
    state = network.state_dict()
    state["fc.bias"][0] = float("nan")
    change_card(model, weights_sha256=models.save_weights(model, state))

    with pytest.raises(PipelineError, match="not finite"):
        run(model=model)
    assert not (tmp_path / "out").exists()


def test_the_folder_of_plots_is_replaced_whole_or_not_at_all(
    run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = run()
    (outputs["plots"] / "stale.png").touch()
    before = contents(outputs)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(plots, "top_losses", fail)
        with pytest.raises(PipelineError, match=r"plots: could not be written \(No space left"):
            run()
    assert contents(outputs) == before

    run({"evaluate.top_losses": 0})
    left = {path.name for path in outputs["plots"].iterdir()}
    assert left == (TABLES | PLOTS | {"heat_maps"}) - {"top_losses.png"}
    assert not list((outputs["plots"] / "heat_maps").iterdir())
    beside = {path.name for path in outputs["plots"].parent.iterdir()}
    assert beside == {p.name for n, p in outputs.items() if n != "artifacts"} | {"report"}


def test_the_run_of_the_model_holds_the_numbers_and_plots(done: Done, original: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(done.store)
    experiments = [e.experiment_id for e in client.search_experiments()]
    key = models.load_card(original).training_key
    (found,) = client.search_runs(experiments, f"tags.`pipeline.key` = '{key}'")
    metrics = files.read_artifact(done.outputs["metrics"], Metrics)
    assert found.data.metrics["test/accuracy"] == pytest.approx(metrics.accuracy, rel=1e-5)
    assert "test/macro_f1" in found.data.metrics
    assert found.inputs is not None
    (dataset,) = found.inputs.dataset_inputs
    assert [tag.value for tag in dataset.tags] == ["test"]
    logged = {Path(file.path).name for file in client.list_artifacts(found.info.run_id, "test")}
    assert logged == PLOTS


def test_the_run_says_what_was_measured_until_it_has_a_version(
    run: Evaluate, original: Path, store: str
) -> None:
    client, key = MlflowClient(store), models.load_card(original).training_key

    def shown() -> tuple[str, str]:
        (experiment,) = client.search_experiments(filter_string="name = 'image-classification'")
        (found,) = client.search_runs([experiment.experiment_id], f"tags.`pipeline.key` = '{key}'")
        return str(found.info.run_name), found.data.tags["mlflow.note.content"]

    found = files.read_artifact(run()["metrics"], Metrics)
    name, text = shown()
    assert name == f"resnet18-{key[:8]}: accuracy {found.accuracy:.3f}"
    assert text.startswith(f"test accuracy {found.accuracy:.3f} (95 % {found.accuracy_low:.3f}-")
    assert text.endswith("Not registered yet.")

    with open_run(kind="model", name=name, key=key) as registered:
        registered.tags({"version": "cells/3"})
        describe(registered, "passed", name="version 3: passed")
    run()
    assert shown() == ("version 3: passed", "passed")


def test_at_most_seven_lines_say_how_good_the_model_is(done: Done) -> None:
    metrics = files.read_artifact(done.outputs["metrics"], Metrics)

    assert len(done.lines) <= 7
    assert done.lines[0].startswith(f"evaluate  test accuracy {metrics.accuracy:.3f} (95 % ")
    assert done.lines[0].endswith(f"majority-class baseline {metrics.majority_class_accuracy:.3f}")
    assert sum("weakest class" in line for line in done.lines) == 1


def test_a_missing_model_is_named_in_one_line(run: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"card\.json: does not exist") as caught:
        run(model=tmp_path / "none")
    assert "\n" not in str(caught.value)
