"""The compiled pipeline, read as the cluster reads it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import STEPS, register, train, validate
from components.core.artifacts import ValidationReport
from components.core.errors import InvalidParams, MissingInput
from components.io import files, params
from components.tune import storage
from pipeline import cli
from pipeline.cli.settings import SECTIONS
from pipeline.kubeflow import compiler, graph, resources, sections, task
from tests.components.conftest import ROOT, write_params

IMAGE = f"registry.example.org:5000/team/classifier@sha256:{'a' * 64}"
GOLDEN = Path(__file__).parent / "golden_train.yaml"
TASKS = ("fetch", *STEPS)
SERVER = "http://mlflow.image-classification.svc:5000"

# For the compiled task of known bytes.
CPU = {"cpu": (0.5, 1), "memory_gib": (1, 1.5), "minutes": 7}
CLUSTER = {
    "workspace_claim": None,
    "workspace_days": 14,
    "workspace_gib": 10,
    "storage_class": "fast",
    "access_mode": "ReadWriteMany",
    "tracking_uri": "https://mlflow.example.org",
    "tracking_secret": "client",
    "promoter_secret": "promoter",
    "storage_secret": "storage",
    "storage_endpoint": None,
    "repository_secret": None,
    "optuna_secret": "optuna",
    "ca_secret": "ca",
    "user": 1234,
    "retries": 3,
    "retry_seconds": 5,
    "workers": 3,
    "gpu": {"resource": "amd.com/gpu", "node_selector": {"pool": "gpu"}, "taint": None},
    **dict.fromkeys(("fetch", "validate", "evaluate", "register"), CPU),
    "tune": {**CPU, "gpus": 1, "shared_memory_gib": 0.5},
    "train": {**CPU, "gpus": 2, "shared_memory_gib": 0.5},
}


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline and its part about Kubernetes."""
    first, second = yaml.safe_load_all(path.read_text())
    return first, second["platforms"]["kubernetes"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own pipeline."""
    output = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    cluster = params.load(ROOT / "params.yaml", resources.Params).cluster
    compiler.compile_to(output, ROOT, IMAGE, cluster)
    return output


@pytest.fixture(scope="module")
def tasks(compiled: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(compiled)[0]["root"]["dag"]["tasks"]
    return found


@pytest.fixture(scope="module")
def containers(compiled: Path) -> dict[str, dict[str, Any]]:
    executors = read(compiled)[0]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): part["container"] for name, part in executors.items()}


@pytest.fixture(scope="module")
def pods(compiled: Path) -> dict[str, dict[str, Any]]:
    executors = read(compiled)[1]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): part for name, part in executors.items()}


def compile_fixed(folder: Path) -> Path:
    """A pipeline of settings of its own: those of params.yaml change without changing the tasks."""
    sections = {name: {"value": 1} for name in SECTIONS}
    (folder / "params.yaml").write_text(yaml.safe_dump(sections))
    output = folder / "pipeline.yaml"
    compiler.compile_to(output, folder, IMAGE, resources.ClusterParams.model_validate(CLUSTER))
    return output


def one_task(path: Path, name: str) -> dict[str, Any]:
    """Everything that the compiled pipeline says about one task."""
    document, kubernetes = read(path)
    task = document["root"]["dag"]["tasks"][name]
    component = document["components"][task["componentRef"]["name"]]
    executor = component["executorLabel"]
    return {
        "task": task,
        "component": component,
        "container": document["deploymentSpec"]["executors"][executor]["container"],
        "pod": kubernetes["deploymentSpec"]["executors"][executor],
    }


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_fixed(tmp_path_factory.mktemp("fixed"))


def test_equal_inputs_compile_to_equal_bytes(fixed: Path, tmp_path: Path) -> None:
    assert compile_fixed(tmp_path).read_bytes() == fixed.read_bytes()


def test_the_task_of_train_is_the_known_one(fixed: Path, tmp_path: Path) -> None:
    found = yaml.safe_dump(one_task(fixed, "train"))
    (tmp_path / "train.yaml").write_text(found)
    assert found == GOLDEN.read_text(), f"read {tmp_path}/train.yaml; if it is right, copy it there"


def test_the_storage_s_endpoint_and_the_repository_s_key_reach_fetch_alone(tmp_path: Path) -> None:
    changes = {"storage_endpoint": "http://s3:8333", "repository_secret": "git-reader"}
    cluster = resources.ClusterParams.model_validate({**CLUSTER, **changes})
    compiler.compile_to(tmp_path / "pipeline.yaml", ROOT, IMAGE, cluster)
    document, kubernetes = read(tmp_path / "pipeline.yaml")
    executors = document["deploymentSpec"]["executors"]
    environments = {name: part["container"].get("env", []) for name, part in executors.items()}
    expected = {"name": "AWS_ENDPOINT_URL_S3", "value": "http://s3:8333"}
    assert [name for name, found in environments.items() if expected in found] == ["exec-fetch"]
    pods = kubernetes["deploymentSpec"]["executors"]
    secrets = {name: part.get("secretAsEnv", []) for name, part in pods.items()}
    keys = {name: found for name, all_ in secrets.items() for found in all_
            if found["secretName"] == "git-reader"}  # fmt: skip
    assert list(keys) == ["exec-fetch"]
    assert [entry["envVar"] for entry in keys["exec-fetch"]["keyToEnv"]] == [
        "GIT_USERNAME", "GIT_PASSWORD"
    ]  # fmt: skip


@pytest.mark.row("P26")
@pytest.mark.parametrize(
    "image",
    [
        "classifier:1.0",
        "registry.example.org/classifier:latest",
        f"classifier:latest@sha256:{'a' * 64}",
        f"classifier@sha256:{'a' * 63}",
        "classifier",
        "",
    ],
)
def test_an_image_without_a_digest_is_refused_in_one_line(image: str, tmp_path: Path) -> None:
    cluster = params.load(ROOT / "params.yaml", resources.Params).cluster
    with pytest.raises(InvalidParams, match="is not pinned") as raised:
        compiler.compile_to(tmp_path / "pipeline.yaml", ROOT, image, cluster)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "pipeline.yaml").exists()


def test_compile_is_a_command_and_its_refusal_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    output = str(tmp_path / "deep/pipeline.yaml")
    assert cli.main(["compile", "--output", output, "--image", "classifier:1"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: --image classifier:1: is not pinned")
    assert error.count("\n") == 1
    assert cli.main(["compile", "--output", output, "--image", IMAGE]) == 0
    assert read(Path(output))[0]["pipelineInfo"]["name"] == graph.NAME


def test_the_tasks_are_those_of_dvc_in_its_order_behind_fetch(
    tasks: dict[str, dict[str, Any]],
) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(tasks) == {"fetch", *stages}
    assert tasks["fetch"].get("dependentTasks", []) == []

    def behind(step: str) -> set[str]:
        direct = set(tasks[step].get("dependentTasks", []))
        return direct.union(*(behind(name) for name in direct))

    outputs = {
        path: name
        for name, stage in stages.items()
        for entry in [*stage["outs"], *stage.get("metrics", [])]
        for path in ([entry] if isinstance(entry, str) else entry)
    }
    for name, stage in stages.items():
        read_from = {outputs[path] for path in stage["deps"] if path in outputs}
        assert behind(name) >= read_from | {"fetch"}, name
    assert [len(behind(name)) for name in stages] == [1, 2, 3, 4, 5]  # a chain, as DVC runs it


def test_each_task_gets_the_folders_and_the_sections_that_its_step_reads(
    tasks: dict[str, dict[str, Any]],
) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        inputs = tasks[name]["inputs"]["parameters"]
        layout = inputs["layout"]["runtimeValue"]["constant"]
        assert layout == {"checkout": "checkout", "outputs": "artifacts", "shared": ""}
        given = {key for key, value in inputs.items() if "componentInputParameter" in value}
        assert given == set(stage["params"])


@pytest.mark.parametrize("kind", [validate.Params, train.Params, register.Params])
def test_settings_arrive_as_they_were_written(kind: type[object], tmp_path: Path) -> None:
    awkward = ["*/\U0001f600_*", "a: b # c", "\"quoted\" \\ 'twice'", "tab\there", "\u00fc", "null"]
    changes = {"validate.exclude": awkward, "train.learning_rate": 1e-5}
    file = write_params(tmp_path / "params.yaml", changes)
    written = sections.to_json(tmp_path)
    given = {name: written[name] for name in params.sections(kind)}
    assert sections.load(given, kind) == params.load(file, kind)


@pytest.mark.row("C09")
def test_data_params_and_thresholds_are_parameters_of_a_run(compiled: Path) -> None:
    inputs = read(compiled)[0]["root"]["inputDefinitions"]["parameters"]
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    required = {name for name, value in inputs.items() if "defaultValue" not in value}
    assert required == {"repository", "revision", "data_hash"}
    defaults = {name: json.loads(inputs[name]["defaultValue"]) for name in set(inputs) - required}
    assert defaults == {name: settings[name] for name in settings if name != "cluster"}
    assert (
        defaults["register"]["gate"]["min_accuracy"] == settings["register"]["gate"]["min_accuracy"]
    )


def test_the_data_digest_travels_from_validate_to_every_later_task(
    tasks: dict[str, dict[str, Any]],
) -> None:
    for step in STEPS[1:]:
        source = tasks[step]["inputs"]["parameters"]["data_digest"]["taskOutputParameter"]
        assert source["producerTask"] == "validate"


def test_nothing_large_travels_as_an_artifact(compiled: Path) -> None:
    for component in read(compiled)[0]["components"].values():
        assert "artifacts" not in component.get("inputDefinitions", {})
        kinds = {
            value["artifactType"]["schemaTitle"]
            for value in component.get("outputDefinitions", {}).get("artifacts", {}).values()
        }
        known = {"Metrics", "ClassificationMetrics", "Markdown", "HTML"}
        assert kinds <= {f"system.{name}" for name in known}


@pytest.mark.row("C09", "P26")
def test_no_task_takes_its_result_from_the_cache_of_another_run(
    tasks: dict[str, dict[str, Any]],
) -> None:
    for name in TASKS:
        assert not tasks[name]["cachingOptions"].get("enableCache", False)


def test_every_task_runs_in_the_pinned_image_and_installs_nothing(
    compiled: Path, containers: dict[str, dict[str, Any]]
) -> None:
    assert {name: container["image"] for name, container in containers.items()} == dict.fromkeys(
        TASKS, IMAGE
    )
    text = compiled.read_text()
    assert "latest" not in text
    assert "pip install" not in text


def test_resources_are_those_of_params(
    containers: dict[str, dict[str, Any]], pods: dict[str, dict[str, Any]]
) -> None:
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())["cluster"]
    for name in TASKS:
        expected, found = settings[name], containers[name]["resources"]
        assert [found["resourceCpuRequest"], found["resourceCpuLimit"]] == [
            f"{cores:g}" for cores in expected["cpu"]
        ]
        assert [found["resourceMemoryRequest"], found["resourceMemoryLimit"]] == [
            f"{size:g}Gi" for size in expected["memory_gib"]
        ]
        assert pods[name]["activeDeadlineSeconds"] == str(60 * expected["minutes"])


@pytest.mark.row("I11")
def test_only_tune_and_train_hold_a_gpu_and_go_where_gpus_are(
    containers: dict[str, dict[str, Any]], pods: dict[str, dict[str, Any]]
) -> None:
    for name in TASKS:
        accelerator = containers[name]["resources"].get("accelerator")
        if name not in ("tune", "train"):
            assert accelerator is None
            assert not {"nodeSelector", "tolerations"} & set(pods[name])
            continue
        assert accelerator["resourceType"] == "nvidia.com/gpu"
        assert accelerator["resourceCount"] == "1"
        assert pods[name]["nodeSelector"]["labels"] == {"nvidia.com/gpu.present": "true"}
        assert [toleration["key"] for toleration in pods[name]["tolerations"]] == ["nvidia.com/gpu"]


@pytest.mark.row("I11")
def test_shared_memory_is_of_memory_and_bounded(pods: dict[str, dict[str, Any]]) -> None:
    for name in TASKS:
        mounts = {mount["mountPath"]: mount for mount in pods[name]["emptyDirMounts"]}
        assert "/tmp" in mounts
        if name in ("tune", "train"):
            assert mounts["/dev/shm"]["medium"] == "Memory"
            assert mounts["/dev/shm"]["sizeLimit"] == "4Gi"
        else:
            assert "/dev/shm" not in mounts


def test_zero_gpus_leave_no_trace_of_gpus(tmp_path: Path) -> None:
    changes = {"cluster.tune.gpus": 0, "cluster.train.gpus": 0}
    file = write_params(tmp_path / "params.yaml", changes)
    cluster = params.load(file, resources.Params).cluster
    compiler.compile_to(tmp_path / "pipeline.yaml", ROOT, IMAGE, cluster)
    text = (tmp_path / "pipeline.yaml").read_text()
    assert "nvidia" not in text
    assert "nodeSelector" not in text


@pytest.mark.row("P26")
def test_failed_tasks_are_retried_after_a_pause(tasks: dict[str, dict[str, Any]]) -> None:
    for name in TASKS:
        policy = tasks[name]["retryPolicy"]
        assert (policy["maxRetryCount"], policy["backoffDuration"]) == (2, "60s")


def test_network_policies_know_each_task_by_its_label(pods: dict[str, dict[str, Any]]) -> None:
    for name in TASKS:
        assert pods[name]["podMetadata"]["labels"] == {"pipeline-step": name}


def test_the_secrets_and_the_model_are_those_of_the_manifests(compiled: Path) -> None:
    made = yaml.safe_load_all((ROOT / "infra/kustomize/secrets/runs.yaml").read_text())
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in made}
    executors = read(compiled)[1]["deploymentSpec"]["executors"]
    for part in executors.values():
        for secret in part.get("secretAsEnv", []):
            used = {entry["secretKey"] for entry in secret["keyToEnv"]}
            assert used <= keys[secret["secretName"]]
    base = (ROOT / "infra/kustomize/base/kustomization.yaml").read_text()
    model = yaml.safe_load((ROOT / "params.yaml").read_text())["register"]["model_name"]
    assert f"MODEL_NAME={model}" in base


def test_no_task_runs_as_root(pods: dict[str, dict[str, Any]]) -> None:
    for name in TASKS:
        user = {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
        assert pods[name]["securityContext"] == user


def test_each_task_has_the_keys_that_it_needs_and_no_others(
    containers: dict[str, dict[str, Any]], pods: dict[str, dict[str, Any]]
) -> None:
    secrets = {
        name: [secret["secretName"] for secret in pods[name].get("secretAsEnv", [])]
        for name in TASKS
    }
    assert secrets == {
        "fetch": ["s3-dvc"],
        "validate": [],
        "tune": ["mlflow-trainer", "postgres-optuna"],
        "train": ["mlflow-trainer"],
        "evaluate": ["mlflow-trainer"],
        "register": ["mlflow-promoter"],
    }
    for name in STEPS:
        env = {entry["name"]: entry["value"] for entry in containers[name]["env"]}
        assert env == {"HOME": "/tmp", "MLFLOW_TRACKING_URI": SERVER}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with three workers that tune."""
    folder = tmp_path_factory.mktemp("several")
    changes = {"cluster.workers": 3, "cluster.access_mode": "ReadWriteMany"}
    file = write_params(folder / "params.yaml", changes)
    cluster = params.load(file, resources.Params).cluster
    compiler.compile_to(folder / "pipeline.yaml", ROOT, IMAGE, cluster)
    return folder / "pipeline.yaml"


def test_further_workers_run_beside_tune_which_is_the_first(several: Path) -> None:
    pipeline = read(several)[0]
    tasks = pipeline["root"]["dag"]["tasks"]
    [name] = set(tasks) - set(TASKS)
    loop = tasks[name]
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == [1, 2]
    assert loop["iteratorPolicy"]["parallelismLimit"] == 2
    assert loop["dependentTasks"] == ["validate"]
    # kfp.local would hand the loop's number to it
    assert not any("taskOutputParameter" in v for v in loop["inputs"]["parameters"].values())
    assert name not in tasks["tune"].get("dependentTasks", [])
    inner = pipeline["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert set(inner) == {"tune-worker"}
    assert inner["tune-worker"]["retryPolicy"] == tasks["tune"]["retryPolicy"]
    assert not inner["tune-worker"]["cachingOptions"].get("enableCache", False)


def test_each_worker_asks_for_what_tune_asks_for(several: Path) -> None:
    pipeline, kubernetes = read(several)
    pods = kubernetes["deploymentSpec"]["executors"]
    assert pods["exec-tune-worker"] == pods["exec-tune"]
    containers = pipeline["deploymentSpec"]["executors"]
    one, other = (containers[f"exec-{name}"]["container"] for name in ("tune", "tune-worker"))
    assert one["resources"] == other["resources"]
    assert one["env"] == other["env"]
    assert one["image"] == other["image"] == IMAGE


def test_one_worker_leaves_the_graph_as_dvc_has_it(tasks: dict[str, dict[str, Any]]) -> None:
    assert set(tasks) == set(TASKS)


def test_the_study_of_the_cluster_is_in_its_database_whose_certificate_is_checked(
    pods: dict[str, dict[str, Any]],
) -> None:
    optuna = pods["tune"]["secretAsEnv"][1]
    assert optuna["keyToEnv"] == [{"envVar": storage.VARIABLE, "secretKey": "uri"}]
    [ca] = pods["tune"]["secretAsVolume"]
    assert (ca["secretName"], ca["mountPath"]) == ("internal-ca", "/ca")
    assert "sslrootcert=/ca/ca.crt" in (ROOT / "infra/scripts/make_secrets.sh").read_text()
    assert all("secretAsVolume" not in pods[name] for name in TASKS if name != "tune")


def test_the_volume_lives_as_long_as_the_run(compiled: Path) -> None:
    volume = read(compiled)[1]["pipelineConfig"]["workspace"]
    assert volume["size"] == "50Gi"
    assert volume["kubernetes"]["pvcSpecPatch"] == {"accessModes": ["ReadWriteOnce"]}


def test_a_standing_volume_is_mounted_by_every_task_and_each_run_has_a_folder_in_it(
    tmp_path: Path,
) -> None:
    cluster = resources.ClusterParams.model_validate({**CLUSTER, "workspace_claim": "workspace"})
    compiler.compile_to(tmp_path / "pipeline.yaml", ROOT, IMAGE, cluster)
    spec, platform = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())
    kubernetes = platform["platforms"]["kubernetes"]
    assert "pipelineConfig" not in kubernetes
    executors = kubernetes["deploymentSpec"]["executors"]
    for step in TASKS:
        (mount,) = executors[f"exec-{step}"]["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("workspace", "/workspace")
    for step in TASKS:
        inputs = spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"]
        where = {name: inputs[name]["runtimeValue"]["constant"] for name in ("workspace", "layout")}
        assert where["workspace"] == "/workspace/runs/{{$.pipeline_job_uuid}}"
        run = where["workspace"].replace("{{$.pipeline_job_uuid}}", "r1")
        found = task.read_layout(run, where["layout"])
        assert found.project == Path("/workspace/runs/r1/checkout")
        assert found.place(train.Paths).cache == Path("/workspace/shared/pixels")


def test_a_run_that_left_no_decision_is_no_success(tmp_path: Path) -> None:
    report = ValidationReport(
        success=True,
        data_digest="d" * 64,
        class_names=["a", "b"],
        found=2,
        used=2,
        quarantined=0,
        ignored=0,
        duplicates=0,
        counts={},
        near_duplicates=0,
        groups=2,
        largest_group=1,
        pinned=0,
        rules=[],
    )
    (tmp_path / "validate").mkdir()
    files.write_artifact(tmp_path / "validate/report.json", report)
    with pytest.raises(MissingInput, match=r"decision\.json"):
        compiler.require_outcome(tmp_path, "passed")


def test_what_a_task_runs_imports_no_kfp() -> None:
    code = "import sys, pipeline.kubeflow.task; print('kfp' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['kfp'] = None; from pipeline.__main__ import main; "
        f"sys.exit(main(['compile', '--output', {str(tmp_path / 'p.yaml')!r}, '--image', 'x']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "extra `kubeflow`" in done.stderr
    assert done.stderr.count("\n") == 1
