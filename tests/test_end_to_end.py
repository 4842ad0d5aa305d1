"""`dvc repro` in a fresh project folder, on a slice of the sample's real photographs.

The tests of this file share one folder and run in order: first the whole pipeline, then what a
user does next.
"""

import ast
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import elpv_dataset
import pandas as pd
import pytest

from pipeline import cli
from tests.components.conftest import QUICK, ROOT, write_params

# Whole pipelines: half a minute on an idle machine, minutes on one that is busy.
pytestmark = pytest.mark.timeout(600)

STEPS = ("validate", "tune", "train", "evaluate", "register")
PROJECT = (
    "components",
    "pipeline",
    "dvc.yaml",
    "data/groups.csv",
    "data/splits.csv",
    ".dvcignore",
    ".dvc/config",
    ".gitignore",
)
SLICE = {
    "validate.min_images": 60,
    "tune.num_trials": 1,
    "tune.epochs": [1, 1],
    "train.epochs": 1,
    # any model of one epoch passes: this test is about the pipeline, not about the quality
    "register.gate.min_accuracy": 0.0,
    "register.gate.min_macro_f1": 0.0,
    "register.gate.min_class_recall": 0.0,
    "register.gate.min_test_images": 10,
    "register.gate.min_test_images_per_class": 5,
    "register.gate.max_ece": None,
}


class Project:
    """A checkout with its own git history, data and MLflow store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
        }

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the folder; return stdout and stderr together."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def set_params(self, changes: Mapping[str, object]) -> None:
        write_params(self.root / "params.yaml", {**SLICE, **changes})

    def record(self) -> dict[str, object]:
        text = (self.root / "artifacts/register/decision.json").read_text()
        loaded: dict[str, object] = json.loads(text)
        return loaded

    def planned(self) -> list[str]:
        """Stages that `dvc repro` would run now."""
        plan = self.run("dvc", "repro", "--dry")
        return [step for step in STEPS if f"Running stage '{step}'" in plan]


def copy_project(root: Path) -> None:
    for name in PROJECT:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def copy_slice(images: Path, per_class: int) -> None:
    package = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (package / "labels.csv").read_text().splitlines()]
    for name, probability in (("functional", 0.0), ("defective", 1.0)):
        folder = images / name
        folder.mkdir(parents=True)
        chosen = [row[0] for row in rows if float(row[1]) == probability][:per_class]
        for path in chosen:
            shutil.copy(package / path, folder / Path(path).name)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    assert set(SLICE) - set(QUICK), "the slice has settings of its own"
    project = Project(tmp_path_factory.mktemp("project"))
    copy_project(project.root)
    copy_slice(project.root / "data/images", 40)
    project.set_params({})
    project.run("git", "init", "-q")
    project.run("dvc", "add", "-q", "data/images")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "data and code")
    return project


@pytest.fixture(scope="module")
def first_run(project: Project) -> str:
    return project.run("dvc", "repro")


def test_the_whole_pipeline_ends_with_a_champion(project: Project, first_run: str) -> None:
    assert "passed" in first_run
    outcome = project.record()["outcome"]
    assert isinstance(outcome, dict)
    assert outcome["verdict"] == "passed"
    assert project.record()["version"] == "1"


@pytest.mark.row("P25")
def test_the_champion_loads_without_pickle_and_predicts_like_evaluate(
    project: Project, first_run: str
) -> None:
    rows = pd.read_parquet(project.root / "artifacts/evaluate/predictions.parquet")
    row = rows.iloc[0]
    image = (project.root / "data/images" / row["path"]).read_bytes()
    request = [base64.b64encode(image).decode(), "bm90IGFuIGltYWdl"]
    code = (
        "import json, mlflow, sys; "
        "model = mlflow.pyfunc.load_model('models:/solar-cells@champion'); "
        "assert model.metadata.signature is not None; "
        f"print(json.dumps(model.predict({request!r})))"
    )
    environment = {
        **project.environment,
        "MLFLOW_TRACKING_URI": f"sqlite:///{project.root}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root.parent,  # not the project: the model brings its own code
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    prediction, refusal = json.loads(done.stdout.splitlines()[-1])
    assert prediction["label"] == row["predicted"]
    for name in ("functional", "defective"):
        assert prediction["probabilities"][name] == pytest.approx(row[f"p:{name}"], abs=1e-6)
    assert refusal["error"]


def test_a_second_run_does_nothing_but_check_the_registry(project: Project, first_run: str) -> None:
    before = (project.root / "artifacts/register/decision.json").read_bytes()
    output = project.run("dvc", "repro")
    for step in STEPS[:-1]:
        assert f"Stage '{step}' didn't change, skipping" in output
    assert "Running stage 'register'" in output
    assert (project.root / "artifacts/register/decision.json").read_bytes() == before
    assert project.record()["version"] == "1"


def use(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the project's folder, with its MLflow store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
    monkeypatch.chdir(project.root)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("verify-decision", "passed, recomputed from"),
        ("status", "champion"),
        ("history", "promotion completed"),
        ("review", "passed"),
    ],
)
def test_the_decision_is_verified_and_the_registry_shows_its_history(
    command: str,
    shown: str,
    project: Project,
    first_run: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    use(project, monkeypatch)
    assert cli.main([command]) == 0
    assert shown in capfd.readouterr().out


def python_of_the_readme() -> str:
    """The block that README.md says is run here."""
    readme = (ROOT / "README.md").read_text()
    mark = "<!-- run by: tests/test_end_to_end.py -->\n```python\n"
    return readme.partition(mark)[2].partition("```")[0]


def test_the_readme_s_python_predicts_an_image(
    project: Project,
    first_run: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = pd.read_parquet(project.root / "artifacts/evaluate/predictions.parquet").iloc[0]
    use(project, monkeypatch)
    shutil.copy(project.root / "data/images" / row["path"], "cell.png")
    exec(compile(python_of_the_readme(), "README.md", "exec"), {})
    Path("cell.png").unlink()
    (prediction,) = ast.literal_eval(capsys.readouterr().out)
    assert set(prediction) == {"label", "probability", "probabilities"}
    assert prediction["label"] == row["predicted"]


def test_what_the_page_about_using_a_model_says_works(project: Project, first_run: str) -> None:
    (project.root / "photos").mkdir()
    for k, path in enumerate(sorted((project.root / "data/images/defective").iterdir())[:4]):
        shutil.copy(path, project.root / f"photos/{k}.png")
    page = (ROOT / "docs/howto/use-a-model.md").read_text()
    mark = "<!-- run by: tests/test_end_to_end.py -->\n```sh\n"
    lines = [block.partition("```")[0] for block in page.split(mark)[1:]]
    assert lines
    output = project.run("sh", "-e", "-c", "".join(lines))
    assert "solar-cells version 1, champion: passed " in output
    table = pd.read_csv(project.root / "predictions.csv")
    assert table["path"].tolist() == [f"photos/{k}.png" for k in range(4)]
    shutil.rmtree(project.root / "photos")


def shell_of_the_readme(note: str) -> str:
    """The block of README.md that says it is run here, with this note."""
    readme = (ROOT / "README.md").read_text()
    block = readme.partition(f"<!-- run by: tests/test_end_to_end.py ({note}) -->\n```sh\n")[2]
    assert block
    return block.partition("```")[0]


def test_the_readme_s_server_predicts_an_image(project: Project, first_run: str) -> None:
    row = pd.read_parquet(project.root / "artifacts/evaluate/predictions.parquet").iloc[0]
    shutil.copy(project.root / "data/images" / row["path"], project.root / "cell.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve, _, call = shell_of_the_readme("on another port").replace("5001", port).partition("\n")
    with (project.root / "server.log").open("w") as log:
        server = subprocess.Popen(
            ["sh", "-c", f"exec env {serve}"],
            cwd=project.root,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait = f"until curl --silent --fail http://127.0.0.1:{port}/ping; do sleep 0.2; done"
        project.run("timeout", "300", "sh", "-c", wait)
        answer = json.loads(project.run("sh", "-c", call))
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # mlflow serves in a process of its own
        server.wait(timeout=60)
    (project.root / "cell.png").unlink()
    (project.root / "server.log").unlink()
    (prediction,) = answer["predictions"]
    assert prediction["label"] == row["predicted"]
    for name in ("functional", "defective"):
        assert prediction["probabilities"][name] == pytest.approx(row[f"p:{name}"], abs=1e-6)


def test_metrics_and_plots_are_declared_for_dvc(project: Project, first_run: str) -> None:
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").splitlines()[-1])
    metrics = shown[""]["data"]["artifacts/evaluate/metrics.json"]["data"]
    assert 0 <= metrics["accuracy_low"] <= metrics["accuracy"] <= 1
    assert metrics["num_images"] >= 10
    project.run("dvc", "plots", "show", "--out", "plots")
    page = (project.root / "plots/index.html").read_text()
    assert "confusion" in page
    assert "://" not in page  # it works without a network
    assert list((project.root / "plots/static").glob("*png"))


def test_one_param_re_runs_only_what_depends_on_it(project: Project, first_run: str) -> None:
    # tests/test_dvc_yaml.py changes a setting of every section
    project.set_params({"evaluate.top_losses": 3})
    assert project.planned()[0] == "evaluate"
    project.set_params({})


def test_a_wiped_registry_is_noticed(project: Project, first_run: str) -> None:
    (project.root / "mlflow.db").unlink()
    shutil.rmtree(project.root / "mlartifacts")
    output = project.run("dvc", "repro")
    assert "Running stage 'train'" not in output
    assert project.record()["version"] == "1"
    with_alias = project.run(
        sys.executable,
        "-c",
        "import mlflow; c = mlflow.MlflowClient('sqlite:///mlflow.db'); "
        "print(c.get_model_version_by_alias('solar-cells', 'champion').version)",
    )
    assert with_alias.split()[-1] == "1"


def test_an_experiment_decides_but_registers_nothing(project: Project, first_run: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "first run")
    output = project.run("dvc", "exp", "run", "-S", "register.gate.min_accuracy=0.01")
    assert [step for step in STEPS if f"Running stage '{step}'" in output] == ["register"]
    policy = project.record()["policy"]
    assert isinstance(policy, dict)
    assert policy["min_accuracy"] == 0.01
    assert project.record()["version"] is None
    project.environment["COLUMNS"] = "120"
    shown = project.run("sh", "-e", "-c", shell_of_the_readme("after an experiment"))
    table = next(line for line in shown.splitlines() if "Experiment" in line)
    assert [name for name in table.split() if name in ("accuracy", "macro_f1", "\u2026")] == [
        "accuracy",
        "macro_f1",
    ]
    assert "register.gate.min_accuracy" in table
    assert len(table) <= 120
    assert "dvc_plots" not in project.run("git", "status", "--short")


@pytest.mark.row("D01", "P27")
def test_a_failed_validation_stops_every_later_step(project: Project, first_run: str) -> None:
    broken = next((project.root / "data/images/functional").glob("*.png"))
    broken.unlink()  # a link into DVC's cache must not be written through
    broken.write_bytes(b"")
    output = project.run("dvc", "repro", code=255)
    assert "error:" in output
    assert broken.name in output
    assert "Running stage 'tune'" not in output


@pytest.mark.row("C06")
def test_a_typo_is_refused_before_any_work(project: Project, first_run: str) -> None:
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("min_macro_f1", "min_macro_f"))
    output = project.run("dvc", "repro", code=255)
    assert "register.gate.min_macro_f is not a setting. Did you mean" in output
    assert "classes" not in output
