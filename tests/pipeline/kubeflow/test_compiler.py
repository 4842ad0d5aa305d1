"""The compiled pipeline, read as the cluster reads it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import register, train, validate
from components.core.artifacts import ValidationReport
from components.core.errors import InvalidParams, MissingInput
from components.io import command, files, params
from components.tune import storage
from pipeline import __main__ as pipeline
from pipeline.kubeflow import compiler as kubeflow
from pipeline.kubeflow import graph, task
from pipeline.kubeflow import resources as cluster
from tests.components.conftest import ROOT, write_params

IMAGE = f"registry.example.org:5000/team/classifier@sha256:{'a' * 64}"
GOLDEN = Path(__file__).parent / "golden_pipeline.yaml"
TASKS = ("fetch", *command.STEPS)
SERVER = "http://mlflow.image-classification.svc:5000"

# Of the known bytes.
CPU = {"cpu": (0.5, 1), "memory_gib": (1, 1.5), "minutes": 7}
CLUSTER = {
    "workspace_gib": 10,
    "storage_class": "fast",
    "access_mode": "ReadWriteMany",
    "tracking_uri": "https://mlflow.example.org",
    "tracking_secret": "client",
    "promoter_secret": "promoter",
    "storage_secret": "storage",
    "storage_endpoint": None,
    "repository_secret": None,
    "optuna_secret": "study",
    "ca_secret": "authority",
    "user": 1234,
    "retries": 3,
    "retry_seconds": 5,
    "workers": 3,
    "gpu": {"resource": "amd.com/gpu", "node_selector": {"pool": "gpu"}, "taint": None},
    **dict.fromkeys(("fetch", "validate", "evaluate", "register"), CPU),
    **{name: {**CPU, "gpus": 2, "shared_memory_gib": 0.5} for name in ("tune", "train")},
}


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline and its part about Kubernetes."""
    first, second = yaml.safe_load_all(path.read_text())
    return first, second["platforms"]["kubernetes"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own pipeline."""
    output = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    wanted = params.load(ROOT / "params.yaml", cluster.Params).cluster
    kubeflow.compile_to(output, ROOT, IMAGE, wanted)
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


def test_equal_inputs_compile_to_equal_bytes_which_are_the_known_ones(tmp_path: Path) -> None:
    # Settings of its own: the values of params.yaml change without changing the pipeline.
    sections = {name: {"value": 1} for name in pipeline.SECTIONS}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    wanted = cluster.ClusterParams.model_validate(CLUSTER)
    for name in ("one.yaml", "two.yaml"):
        kubeflow.compile_to(tmp_path / name, tmp_path, IMAGE, wanted)
    first, second = (tmp_path / "one.yaml").read_bytes(), (tmp_path / "two.yaml").read_bytes()
    assert first == second
    assert first == GOLDEN.read_bytes(), f"read {tmp_path}/one.yaml; if it is right, copy it there"


def test_the_storage_s_endpoint_and_the_repository_s_key_reach_fetch_alone(tmp_path: Path) -> None:
    changes = {"storage_endpoint": "http://s3:8333", "repository_secret": "git-reader"}
    wanted = cluster.ClusterParams.model_validate({**CLUSTER, **changes})
    kubeflow.compile_to(tmp_path / "pipeline.yaml", ROOT, IMAGE, wanted)
    document, kubernetes = read(tmp_path / "pipeline.yaml")
    executors = document["deploymentSpec"]["executors"]
    environments = {name: part["container"].get("env", []) for name, part in executors.items()}
    told = {"name": "AWS_ENDPOINT_URL_S3", "value": "http://s3:8333"}
    assert [name for name, found in environments.items() if told in found] == ["exec-fetch"]
    pods = kubernetes["deploymentSpec"]["executors"]
    secrets = {name: part.get("secretAsEnv", []) for name, part in pods.items()}
    keys = {name: found for name, all_ in secrets.items() for found in all_
            if found["secretName"] == "git-reader"}  # fmt: skip
    assert list(keys) == ["exec-fetch"]
    assert [entry["envVar"] for entry in keys["exec-fetch"]["keyToEnv"]] == [
        "GIT_USERNAME", "GIT_PASSWORD"
    ]  # fmt: skip


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
    wanted = params.load(ROOT / "params.yaml", cluster.Params).cluster
    with pytest.raises(InvalidParams, match="is not pinned") as raised:
        kubeflow.compile_to(tmp_path / "pipeline.yaml", ROOT, image, wanted)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "pipeline.yaml").exists()


def test_compile_is_a_verb_and_its_refusal_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    output = str(tmp_path / "deep/pipeline.yaml")
    assert pipeline.main(["compile", "--output", output, "--image", "classifier:1"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: --image classifier:1: is not pinned")
    assert error.count("\n") == 1
    assert pipeline.main(["compile", "--output", output, "--image", IMAGE]) == 0
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


def test_each_task_gets_the_paths_of_dvc_and_the_sections_that_its_step_reads(
    tasks: dict[str, dict[str, Any]],
) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        inputs = tasks[name]["inputs"]["parameters"]
        for option, path in inputs["layout"]["runtimeValue"]["constant"]["paths"].items():
            assert f"--{option} {path}" in " ".join(stage["cmd"].split())
        given = {key for key, value in inputs.items() if "componentInputParameter" in value}
        assert given == set(stage["params"])


@pytest.mark.parametrize("kind", [validate.Params, train.Params, register.Params])
def test_settings_arrive_as_they_were_written(kind: type[object], tmp_path: Path) -> None:
    awkward = ["*/\U0001f600_*", "a: b # c", "\"quoted\" \\ 'twice'", "tab\there", "\u00fc", "null"]
    changes = {"validate.exclude": awkward, "train.learning_rate": 1e-5}
    file = write_params(tmp_path / "params.yaml", changes)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    sections = graph.read_project(tmp_path).sections
    wanted = {name: sections[name] for name in params.sections(kind)}
    assert task.read_sections(wanted, kind) == params.load(file, kind)


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
    for step in command.STEPS[1:]:
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


def test_no_task_takes_its_answer_from_the_cache_of_another_run(
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
        wanted, found = settings[name], containers[name]["resources"]
        assert [found["resourceCpuRequest"], found["resourceCpuLimit"]] == [
            f"{cores:g}" for cores in wanted["cpu"]
        ]
        assert [found["resourceMemoryRequest"], found["resourceMemoryLimit"]] == [
            f"{size:g}Gi" for size in wanted["memory_gib"]
        ]
        assert pods[name]["activeDeadlineSeconds"] == str(60 * wanted["minutes"])


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


def test_shared_memory_is_of_memory_and_bounded(pods: dict[str, dict[str, Any]]) -> None:
    for name in TASKS:
        mounts = {mount["mountPath"]: mount for mount in pods[name]["emptyDirMounts"]}
        assert "/tmp" in mounts
        if name in ("tune", "train"):
            assert mounts["/dev/shm"]["medium"] == "Memory"
            assert mounts["/dev/shm"]["sizeLimit"] == "4Gi"
        else:
            assert "/dev/shm" not in mounts


def test_a_zero_of_gpus_leaves_no_trace_of_them(tmp_path: Path) -> None:
    changes = {"cluster.tune.gpus": 0, "cluster.train.gpus": 0}
    file = write_params(tmp_path / "params.yaml", changes)
    wanted = params.load(file, cluster.Params).cluster
    kubeflow.compile_to(tmp_path / "pipeline.yaml", ROOT, IMAGE, wanted)
    text = (tmp_path / "pipeline.yaml").read_text()
    assert "nvidia" not in text
    assert "nodeSelector" not in text


def test_failed_tasks_are_tried_again_after_a_pause(tasks: dict[str, dict[str, Any]]) -> None:
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
            wanted = {entry["secretKey"] for entry in secret["keyToEnv"]}
            assert wanted <= keys[secret["secretName"]]
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
    for name in command.STEPS:
        env = {entry["name"]: entry["value"] for entry in containers[name]["env"]}
        assert env == {"HOME": "/tmp", "MLFLOW_TRACKING_URI": SERVER}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with three workers that tune."""
    folder = tmp_path_factory.mktemp("crowd")
    changes = {"cluster.workers": 3, "cluster.access_mode": "ReadWriteMany"}
    file = write_params(folder / "params.yaml", changes)
    wanted = params.load(file, cluster.Params).cluster
    kubeflow.compile_to(folder / "pipeline.yaml", ROOT, IMAGE, wanted)
    return folder / "pipeline.yaml"


def test_further_workers_run_beside_tune_which_is_the_first(crowd: Path) -> None:
    pipeline = read(crowd)[0]
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


def test_each_worker_asks_for_what_tune_asks_for(crowd: Path) -> None:
    pipeline, kubernetes = read(crowd)
    pods = kubernetes["deploymentSpec"]["executors"]
    assert pods["exec-tune-worker"] == pods["exec-tune"]
    containers = pipeline["deploymentSpec"]["executors"]
    one, other = (containers[f"exec-{name}"]["container"] for name in ("tune", "tune-worker"))
    assert one["resources"] == other["resources"]
    assert one["env"] == other["env"]
    assert one["image"] == other["image"] == IMAGE


def test_one_worker_leaves_the_graph_as_dvc_has_it(tasks: dict[str, dict[str, Any]]) -> None:
    assert set(tasks) == set(TASKS)


def test_the_study_of_the_cluster_is_in_its_database_which_is_proved_by_its_authority(
    pods: dict[str, dict[str, Any]],
) -> None:
    study = pods["tune"]["secretAsEnv"][1]
    assert study["keyToEnv"] == [{"envVar": storage.VARIABLE, "secretKey": "uri"}]
    [authority] = pods["tune"]["secretAsVolume"]
    assert (authority["secretName"], authority["mountPath"]) == ("internal-ca", "/ca")
    assert "sslrootcert=/ca/ca.crt" in (ROOT / "infra/scripts/make_secrets.sh").read_text()
    assert all("secretAsVolume" not in pods[name] for name in TASKS if name != "tune")


def test_the_volume_lives_as_long_as_the_run(compiled: Path) -> None:
    volume = read(compiled)[1]["pipelineConfig"]["workspace"]
    assert volume["size"] == "50Gi"
    assert volume["kubernetes"]["pvcSpecPatch"] == {"accessModes": ["ReadWriteOnce"]}


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
        kubeflow.require_outcome(tmp_path, "promote")


def test_the_verbs_of_every_day_import_no_kfp() -> None:
    code = "import sys, pipeline.__main__, pipeline.kubeflow.task; print('kfp' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_without_the_extra_the_verb_says_what_to_install(tmp_path: Path) -> None:
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
