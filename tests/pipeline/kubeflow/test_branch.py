"""The pipeline of a branch: its graph, and what its tasks do with real git, DVC and MLflow."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import STEPS
from components.core.errors import InvalidParams
from components.io import params
from pipeline.kubeflow import branch, compiler, resources, task
from pipeline.kubeflow.components import fetch_branch
from tests.components.conftest import ROOT, write_params
from tests.components.conftest import store as store
from tests.pipeline.checkout import Checkout

IMAGE = f"registry.example.org/classifier@sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The compiled pipeline: the graph, and its part about Kubernetes."""
    output = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    cluster = params.load(ROOT / "params.yaml", resources.Params).cluster
    compiler.compile_branch(output, IMAGE, cluster)
    return list(yaml.safe_load_all(output.read_text()))


def test_steps_run_only_for_what_has_no_verdict(document: list[dict[str, Any]]) -> None:
    spec = document[0]
    first, group = (spec["root"]["dag"]["tasks"][name] for name in ("fetch-branch", "condition-1"))
    assert first["inputs"]["parameters"]["branch"] == {"componentInputParameter": "branch"}
    assert group["triggerPolicy"]["condition"].endswith(
        "['pipelinechannel--fetch-branch-new'] == 'yes'"
    )
    assert group["dependentTasks"] == ["fetch-branch"]
    inner = spec["components"][group["componentRef"]["name"]]["dag"]["tasks"]
    after = {name: each.get("dependentTasks", []) for name, each in inner.items()}
    assert after.pop("note-branch") == ["register"]
    assert after["validate"] == []
    assert [name for name in STEPS if after[name]] == list(STEPS[1:])
    assert all(before in after[step] for before, step in pairwise(STEPS))


def test_settings_of_the_steps_are_those_of_the_branch(document: list[dict[str, Any]]) -> None:
    spec = document[0]
    assert set(spec["root"]["inputDefinitions"]["parameters"]) == {"repository", "branch"}
    outputs = spec["components"]["comp-fetch-branch"]["outputDefinitions"]["parameters"]
    assert set(outputs) == {"new", "revision", "data_hash", *branch.SECTIONS}
    (group,) = [part for name, part in spec["components"].items() if "condition" in name]
    for step in STEPS:
        given = group["dag"]["tasks"][step]["inputs"]["parameters"]
        for name in set(given) & set(branch.SECTIONS):
            source = given[name]["componentInputParameter"]
            assert source == f"pipelinechannel--fetch-branch-{name}"


def test_the_first_task_reads_the_registry_and_the_last_one_writes_it(
    document: list[dict[str, Any]],
) -> None:
    pods = document[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    secrets = {
        name: [each["secretName"] for each in pod.get("secretAsEnv", [])]
        for name, pod in pods.items()
    }
    assert secrets["exec-fetch-branch"] == ["s3-dvc", "mlflow-trainer"]
    assert secrets["exec-note-branch"] == ["mlflow-promoter"]
    labels = {name: pod["podMetadata"]["labels"]["pipeline-step"] for name, pod in pods.items()}
    assert (labels["exec-fetch-branch"], labels["exec-note-branch"]) == ("fetch", "register")


class Run:
    """Tasks of one run after the other, each in a folder of its own."""

    def __init__(self, checkout: Checkout, root: Path) -> None:
        self.checkout, self.root, self.count = checkout, root, 0

    def fetch(self, name: str = "main") -> tuple[str, branch.Tip]:
        self.count += 1
        folder = self.root / f"run-{self.count}"
        self.layout = task.Layout(folder / "checkout", folder / "checkout/artifacts", folder)
        return task.run_fetch_branch(self.layout, str(self.checkout.bare), name, 14)

    @property
    def images(self) -> list[str]:
        return sorted(path.name for path in (self.layout.project / "data/images").rglob("*.png"))

    def push(self) -> str:
        revision = self.checkout.commit()
        self.checkout.run("git", "push", "--quiet", "origin", "main")
        return revision


@pytest.fixture
def run(checkout: Checkout, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    # A relative address is one of the checkout's own.
    checkout.run("dvc", "remote", "modify", "storage", "url", str(checkout.storage))
    write_params(checkout.root / "params.yaml", {"register.model_name": tmp_path.name})
    found = Run(checkout, tmp_path / "runs")
    found.push()
    return found


def test_a_commit_is_run_once_and_again_when_it_or_its_images_change(
    run: Run,
    image_bytes: Callable[..., bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new, tip = run.fetch()
    assert (new, tip.revision, run.images) == ("yes", run.checkout.revision(), ["1.png"])
    assert capsys.readouterr().out == f"{tip}: has no verdict yet\n"
    # A run that failed in between leaves no note: the next one starts again.
    assert run.fetch()[0] == "yes"

    task.run_note_branch(tip)
    capsys.readouterr()
    assert run.fetch() == ("no", tip)
    assert capsys.readouterr().out == f"{tip}: unchanged since its last verdict; nothing to do\n"
    assert run.images == []

    run.checkout.root.joinpath("data/images/cat/2.png").write_bytes(image_bytes(9))
    run.checkout.run("dvc", "add", "--quiet", "data/images")
    run.checkout.run("dvc", "push", "--quiet")
    revision = run.push()
    new, changed = run.fetch()
    assert (new, changed.revision, run.images) == ("yes", revision, ["1.png", "2.png"])
    assert changed.data_hash != tip.data_hash

    task.run_note_branch(changed)
    write_params(
        run.checkout.root / "params.yaml", {"register.model_name": tmp_path.name, "train.epochs": 3}
    )
    run.push()
    new, other = run.fetch()
    assert (new, other.data_hash) == ("yes", changed.data_hash)
    assert '"epochs": 3' in other.sections["train"]


def test_branches_have_notes_of_their_own(run: Run) -> None:
    run.checkout.run("git", "push", "--quiet", "origin", "main:refs/heads/feature/a+b")
    tip = run.fetch("feature/a+b")[1]
    task.run_note_branch(tip)
    assert [run.fetch(name)[0] for name in ("feature/a+b", "main")] == ["no", "yes"]


def test_a_model_that_was_never_registered_has_no_note(run: Run) -> None:
    write_params(run.checkout.root / "params.yaml", {"register.model_name": "another"})
    run.push()
    assert run.fetch()[0] == "yes"


def test_a_branch_that_does_not_exist_is_refused(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        run.fetch("maim")
    assert raised.value.code == 1
    expected = f"error: {run.checkout.bare}: has no branch 'maim'; "
    assert capfd.readouterr().err.startswith(expected)


def test_a_branch_without_a_section_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    file = run.checkout.root / "params.yaml"
    content = yaml.safe_load(file.read_text())
    del content["tune"]
    file.write_text(yaml.safe_dump(content))
    revision = run.push()
    with pytest.raises(InvalidParams) as raised:
        branch.read(tmp_path / "project", str(run.checkout.bare), "main")
    assert str(raised.value).startswith(
        f"main at {revision[:12]}: its params.yaml lacks the sections tune;"
    )


def test_outputs_of_the_first_task_are_named_in_the_order_of_its_values() -> None:
    outputs = list(fetch_branch.__annotations__["return"].__annotations__)
    assert outputs == ["new", "revision", "data_hash", *branch.SECTIONS]
