import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Stored
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException

from components import tracking
from components.core.errors import Interrupted, InvalidParams, PipelineError, ServiceUnavailable
from components.tracking import server
from components.tracking.runs import Run, join_run, open_run


def stored(uri: str, kind: str = "model") -> list[Stored]:
    """All runs of a kind, oldest first."""
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`pipeline.kind` = '{kind}'"
    return list(client.search_runs(experiments, wanted, order_by=["attributes.start_time"]))


def only(uri: str, kind: str = "model") -> Stored:
    (run,) = stored(uri, kind)
    return run


def points(uri: str, name: str) -> list[tuple[int, float]]:
    history = MlflowClient(uri).get_metric_history(only(uri).info.run_id, name)
    return [(metric.step, metric.value) for metric in history]


def test_the_package_offers_runs_by_name() -> None:
    assert tracking.open_run is open_run


def test_a_run_ends_finished_with_its_name_and_tags(store: str) -> None:
    with open_run(kind="model", name="resnet18-ab", key="k1", tags={"data": "d1"}) as run:
        assert only(store).info.status == "RUNNING"
        run.tags({"gate": "pass"})
    found = only(store)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "resnet18-ab"
    assert found.data.tags["data"] == "d1"
    assert found.data.tags["gate"] == "pass"
    assert found.data.tags["pipeline.key"] == "k1"


def test_the_same_key_continues_the_same_run(store: str) -> None:
    for data in ("d1", "d2"):
        with open_run(kind="model", name="n", key="k1", tags={"data": data}):
            assert only(store).info.status == "RUNNING"
    assert only(store).data.tags["data"] == "d2"


def test_another_key_or_kind_is_another_run(store: str) -> None:
    with open_run(kind="model", name="n", key="k1"), open_run(kind="model", name="n", key="k2"):
        pass
    with open_run(kind="tune", name="n", key="k1"):
        pass
    assert len(stored(store)) == 2
    assert len(stored(store, "tune")) == 1


@pytest.mark.row("N10")
def test_a_run_left_running_by_a_killed_process_is_continued(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        pass
    MlflowClient(store).update_run(run.id, status="RUNNING")
    with open_run(kind="model", name="n", key="k1"):
        pass
    assert only(store).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PipelineError("no"), "FAILED"),
        (ZeroDivisionError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (Interrupted("stopped", 15), "KILLED"),
    ],
)
def test_the_status_says_how_the_step_ended(error: BaseException, status: str, store: str) -> None:
    with pytest.raises(type(error)), open_run(kind="model", name="n", key="k1"):
        raise error
    assert only(store).info.status == status


def test_what_the_step_raised_survives_a_store_that_fails(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def fail(*_arguments: object) -> None:
        raise MlflowException("gone")

    monkeypatch.setattr(MlflowClient, "set_terminated", fail)
    with pytest.raises(Interrupted), open_run(kind="model", name="n", key="k1"):
        raise Interrupted("stopped", 15)


def test_metrics_keep_six_digits_and_their_step(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        run.metrics({"val/loss": 0.12345678, "train/learning_rate": 0.0000123456789}, step=3)
        run.metrics({"test/accuracy": 0.79})
    assert points(store, "val/loss") == [(3, 0.123457)]
    assert points(store, "train/learning_rate") == [(3, 0.0000123457)]
    assert points(store, "test/accuracy") == [(0, 0.79)]


class Outage:
    """Makes the next calls of a client's method fail, as an HTTP server does that is away.

    Args:
        reached: whether the server did what was asked, and only its answer was lost.
    """

    def __init__(self, run: Run, method: str, failures: int, reached: bool = False) -> None:
        self._call = getattr(run.store.client, method)
        self.failures, self._reached = failures, reached
        setattr(run.store.client, method, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            self.failures -= 1
            if self._reached:
                self._call(*args, **kwargs)
            raise MlflowException("refused") from RequestException()
        return self._call(*args, **kwargs)


@pytest.mark.row("N02")
@pytest.mark.parametrize("reached", [False, True])
def test_metrics_of_an_outage_are_logged_once_when_it_is_over(
    reached: bool, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([False, True, True])
    monkeypatch.setattr(server, "answers", lambda _: next(answers))
    with open_run(kind="model", name="n", key="k") as run:
        run.metrics({"loss": 1.0}, step=1)
        Outage(run, "log_batch", 2, reached)
        for step in (2, 3, 4, 5):
            run.metrics({"loss": 1.0 / step}, step=step)
    assert [step for step, _ in points(store, "loss")] == [1, 2, 3, 4, 5]
    assert capsys.readouterr().out.count("what is measured is kept for it") == 1


def test_what_still_waits_at_the_end_is_logged_before_the_run_ends(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("components.tracking.store._PAUSE_SECONDS", 0.0)
    with open_run(kind="model", name="n", key="k") as run:
        Outage(run, "log_batch", 3)
        run.metrics({"loss": 0.5}, step=1)
        run.metrics({"loss": 0.5}, step=1)
        assert points(store, "loss") == []
    assert points(store, "loss") == [(1, 0.5)]
    assert capsys.readouterr().out.count("waiting for it, 300 s at most") == 1


def test_a_server_that_stays_away_ends_the_step_as_a_service_that_does_not_answer(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(server.OUTAGE, "0")
    monkeypatch.setattr("components.tracking.store._PAUSE_SECONDS", 0.0)

    def tag() -> None:
        with open_run(kind="model", name="n", key="k") as run:
            Outage(run, "log_batch", 1000)
            run.tags({"gate": "pass"})

    with pytest.raises(ServiceUnavailable, match="stopped answering"):
        tag()


@pytest.mark.row("N04")
def test_a_run_whose_creation_was_not_answered_is_not_created_again(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tracking.store._PAUSE_SECONDS", 0.0)
    with open_run(kind="model", name="n", key="k") as run:
        Outage(run, "create_run", 1, reached=True)
        with run.child("trial 0"):
            pass
    assert len(stored(store, "trial")) == 1


@pytest.mark.row("C06")
@pytest.mark.parametrize("text", ["", "-1", "five"])
def test_a_patience_that_is_no_number_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(server.OUTAGE, text)
    with pytest.raises(InvalidParams, match="PIPELINE_MLFLOW_OUTAGE_SECONDS is"):
        server.outage_seconds()


def test_metrics_that_are_not_finite_are_left_out(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        run.metrics({"a": math.nan, "b": math.inf, "c": 1.0})
    assert set(only(store).data.metrics) == {"c"}


@pytest.mark.row("N09")
def test_metrics_said_again_are_stored_once(store: str) -> None:
    for losses in ([0.5, 0.4], [0.5, 0.4, 0.3]):
        with open_run(kind="model", name="n", key="k1") as run:
            for step, loss in enumerate(losses, start=1):
                run.metrics({"loss": loss}, step=step)
                run.metrics({"loss": loss}, step=step)
    assert points(store, "loss") == [(1, 0.5), (2, 0.4), (3, 0.3)]


def test_a_changed_metric_is_stored_beside_the_old_one(store: str) -> None:
    for loss in (0.5, 0.25):
        with open_run(kind="model", name="n", key="k1") as run:
            run.metrics({"loss": loss}, step=1)
    assert sorted(points(store, "loss")) == [(1, 0.25), (1, 0.5)]


def test_thousands_of_metrics_fit(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        run.metrics({f"recall/{k}": k for k in range(2_500)})
    assert len(only(store).data.metrics) == 2_500


def test_strange_names_do_not_crash(store: str) -> None:
    strange = [
        "a|b",
        "../../etc",
        "x//y/",
        "Z\u00fcrich \u96fb\u6c60",
        "",
        "/",
        ".",
        "\n",
        "l" * 300,
    ]
    with open_run(kind="model", name="n", key="k1") as run:
        run.metrics(dict.fromkeys(strange, 1.0))
        run.params(dict.fromkeys(strange, 1))
    assert {"a_b", "etc", "x/y", "Z\u00fcrich \u96fb\u6c60", "_", "l" * 250} == set(
        only(store).data.metrics
    )


def test_parameters_are_text_and_long_ones_are_cut(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        run.params({"learning_rate": 0.001, "long": "x" * 7_000, "sizes": [1, 2]})
        run.params({f"p{k}": k for k in range(250)})
    found = only(store).data.params
    assert found["learning_rate"] == "0.001"
    assert found["sizes"] == "[1, 2]"
    assert len(found["long"]) == 6_000
    assert len(found) == 253


@pytest.mark.row("N08")
def test_a_parameter_that_changed_becomes_a_tag_and_not_a_crash(store: str) -> None:
    for rate in (0.1, 0.1, 0.2):
        with open_run(kind="model", name="n", key="k1") as run:
            run.params({"learning_rate": rate})
            run.params({"learning_rate": rate})
    found = only(store)
    assert found.data.params["learning_rate"] == "0.1"
    assert found.data.tags["changed.learning_rate"] == "0.2"


def test_a_file_lands_in_its_folder_and_is_replaced(store: str, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    for content in ("old", "new"):
        file.write_text(content)
        with open_run(kind="model", name="n", key="k1") as run:
            run.file(file, "train")
            run.file(file)
    there = Path(only(store).info.artifact_uri)
    assert (there / "train/history.csv").read_text() == "new"
    assert (there / "history.csv").exists()


def test_artifacts_lie_beside_the_database(store: str) -> None:
    with open_run(kind="model", name="n", key="k1"):
        pass
    folder = Path(store.removeprefix("sqlite:///")).parent
    assert Path(only(store).info.artifact_uri).is_relative_to(folder / "mlartifacts")


def test_a_data_set_is_stated_once_with_a_digest_that_fits(store: str) -> None:
    for _ in range(2):
        with open_run(kind="model", name="n", key="k1") as run:
            run.dataset(name="train", digest="0123456789abcdef" * 4, context="training")
    inputs = only(store).inputs
    assert inputs is not None
    (given,) = inputs.dataset_inputs
    assert given.dataset.digest == "0123456789abcdef" * 2
    assert "0123456789abcdef" * 4 in given.dataset.source
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


def test_children_are_nested_and_found_again(store: str) -> None:
    for _ in range(2):
        with open_run(kind="tune", name="study", key="s1") as run:
            for number in range(2):
                with run.child(f"trial {number}", tags={"state": "complete"}) as trial:
                    trial.metrics({"loss": 0.5}, step=1)
    trials = stored(store, "trial")
    assert [trial.info.run_name for trial in trials] == ["trial 0", "trial 1"]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {run.id}
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    assert trials[0].data.tags["state"] == "complete"


def test_an_injected_run_becomes_the_parent_and_is_hidden_from_children(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(store)
    elsewhere = client.create_experiment("pipelines", "elsewhere")
    injected = client.create_run(elsewhere).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    with open_run(kind="model", name="n", key="k1"):
        assert "MLFLOW_RUN_ID" not in os.environ
    found = only(store)
    assert found.data.tags["mlflow.parentRunId"] == injected
    assert found.info.experiment_id == elsewhere


def test_lineage_is_of_the_first_opening(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    pointer = tmp_path / "data/images.dvc"
    pointer.parent.mkdir()
    for digest in ("a" * 32, "b" * 32):
        pointer.write_text(f"outs:\n- md5: {digest}.dir\n")
        with open_run(kind="model", name="n", key="k1") as run:
            assert run.lineage == {"dvc": f"{'a' * 32}.dir"}


def test_the_link_of_a_local_run_says_how_to_see_it(store: str) -> None:
    with open_run(kind="model", name="n", key="k1") as run:
        page = f"#/experiments/{only(store).info.experiment_id}/runs/{run.id}"
        assert run.link == (
            f"`make ui`, then http://127.0.0.1:5000/{page}?workflowType=machine_learning"
        )


def test_a_run_that_is_joined_is_left_in_the_state_of_its_owner(store: str) -> None:
    with open_run(kind="tune", name="search", key="joined") as mine:
        with join_run(kind="tune", name="search", key="joined", tags={}, patience=0) as theirs:
            assert theirs.id == mine.id
        assert mine.store.client.get_run(mine.id).info.status == "RUNNING"
    with join_run(kind="tune", name="search", key="joined", tags={"late": "x"}, patience=0) as late:
        assert late.id == mine.id
        assert late.store.client.get_run(late.id).info.status == "FINISHED"
        assert "late" not in late.store.client.get_run(late.id).data.tags


def test_who_joins_makes_the_run_when_nobody_did_in_time(store: str) -> None:
    begun = time.monotonic()
    with join_run(kind="tune", name="s", key="alone", tags={"data": "d"}, patience=1) as run:
        assert time.monotonic() - begun >= 1
        assert run.tag("data") == "d"
    with open_run(kind="tune", name="s", key="alone") as owner:
        assert owner.id == run.id
