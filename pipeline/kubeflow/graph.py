"""The graph of dvc.yaml as a Kubeflow pipeline, and what each task asks of Kubernetes."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from kfp import dsl, kubernetes

from components.io import command, params
from pipeline.cluster import ClusterParams, GpuTask
from pipeline.kubeflow import steps

NAME = "image-classification"


@dataclass(frozen=True)
class Project:
    """What a checkout says about the pipeline.

    Attributes:
        paths: step -> argument -> path, as on the command lines of dvc.yaml.
        sections: section of params.yaml -> its content as JSON. Text, because KFP turns the whole
            numbers of a structure into fractions.
    """

    paths: Mapping[str, Mapping[str, str]]
    sections: Mapping[str, str]


def read_project(root: Path) -> Project:
    """Read dvc.yaml and params.yaml below `root`."""
    stages = params.read_yaml(root / "dvc.yaml")["stages"]
    paths = {}
    for step in command.STEPS:
        words = shlex.split(stages[step]["cmd"].rpartition("&&")[2])[3:]  # python -m module
        names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
        paths[step] = dict(zip(names, words[1::2], strict=True))
    raw = params.read_yaml(root / "params.yaml")
    return Project(paths, {name: json.dumps(content) for name, content in raw.items()})


def build(
    project: Project,
    image: str,
    cluster: ClusterParams | None,
    *,
    workspace: str,
    checkout: str,
    outputs: str,
) -> Any:
    """The pipeline as a kfp component.

    Args:
        project: paths, and the parameters' defaults.
        image: what every task runs in.
        cluster: resources; None = a local run, on data that is there: without fetch.
        workspace: folder of the run's volume.
        checkout: folder of the project, relative to the workspace.
        outputs: folder that stands for `artifacts`, relative to the project.
    """
    make = {
        function.__name__: dsl.component(function, base_image=image, install_kfp_package=False)
        for function in (steps.fetch, *steps.STEPS)
    }
    default = project.sections
    where = {"checkout": checkout, "outputs": outputs}

    @dsl.pipeline(  # type: ignore[untyped-decorator]
        name=NAME,
        description="Folders of pictures in, a reviewed model version out.",
        pipeline_config=_volume(cluster) if cluster else None,
    )
    def image_classification(
        repository: str,
        revision: str,
        data_hash: str,
        data: str = default["data"],
        model: str = default["model"],
        validate: str = default["validate"],
        training: str = default["training"],
        tune: str = default["tune"],
        train: str = default["train"],
        evaluate: str = default["evaluate"],
        register: str = default["register"],
    ) -> str:
        given = {
            "data": data,
            "model": model,
            "validate": validate,
            "training": training,
            "tune": tune,
            "train": train,
            "evaluate": evaluate,
            "register": register,
        }
        before = []
        if cluster:
            task = make["fetch"](
                workspace=workspace,
                layout={**where, "paths": {}},
                repository=repository,
                revision=revision,
                data_hash=data_hash,
            )
            before = [_place(task, "fetch", cluster)]
        digest: dict[str, Any] = {}
        for step in command.STEPS:
            task = make[step](
                workspace=workspace,
                layout={**where, "paths": project.paths[step]},
                **digest,
                **{name: given[name] for name in _sections(step)},
            ).after(*before)
            before = [_place(task, step, cluster) if cluster else task]
            digest = digest or {"data_digest": task.outputs["Output"]}
        verdict: str = task.outputs["Output"]
        return verdict

    return image_classification


def _sections(step: str) -> list[str]:
    return list(params.sections(import_module(f"components.{step}").Params))


def _volume(cluster: ClusterParams) -> Any:
    claim: dict[str, Any] = {"accessModes": [cluster.access_mode]}
    if cluster.storage_class:
        claim["storageClassName"] = cluster.storage_class
    volume = dsl.KubernetesWorkspaceConfig(pvcSpecPatch=claim)
    size = f"{cluster.workspace_gib:g}Gi"
    return dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size=size, kubernetes=volume))


def _place(task: Any, step: str, cluster: ClusterParams) -> Any:
    """State what the task needs; returns it."""
    wanted = cluster.task(step)
    # What a task writes lies in the volume of its run: an answer from another run's cache would
    # leave this volume empty.
    task.set_caching_options(enable_caching=False)
    for (low, high), request, limit, unit in (
        (wanted.cpu, task.set_cpu_request, task.set_cpu_limit, ""),
        (wanted.memory_gib, task.set_memory_request, task.set_memory_limit, "Gi"),
    ):
        request(f"{low:g}{unit}")
        limit(f"{high:g}{unit}")
    pause = f"{cluster.retry_seconds}s"
    task.set_retry(num_retries=cluster.retries, backoff_duration=pause, backoff_factor=2.0)
    kubernetes.set_timeout(task, wanted.minutes * 60)
    kubernetes.set_security_context(
        task, run_as_user=cluster.user, run_as_group=cluster.user, run_as_non_root=True
    )
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")  # noqa: S108
    task.set_env_variable("HOME", "/tmp")  # noqa: S108 - its own, the only place it may write to
    _give_keys(task, step, cluster)
    if isinstance(wanted, GpuTask):
        _give_gpus(task, wanted, cluster)
    return task


def _give_keys(task: Any, step: str, cluster: ClusterParams) -> None:
    """Name the services and their secrets: each step has the keys that it uses, no others."""
    if step == "fetch":
        keys = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        kubernetes.use_secret_as_env(task, cluster.storage_secret, keys)
        return
    task.set_env_variable("MLFLOW_TRACKING_URI", cluster.tracking_uri)
    if step != "validate":
        secret = cluster.promoter_secret if step == "register" else cluster.tracking_secret
        keys = {"username": "MLFLOW_TRACKING_USERNAME", "password": "MLFLOW_TRACKING_PASSWORD"}
        kubernetes.use_secret_as_env(task, secret, keys)


def _give_gpus(task: Any, wanted: GpuTask, cluster: ClusterParams) -> None:
    size = f"{wanted.shared_memory_gib:g}Gi"
    kubernetes.empty_dir_mount(
        task,
        volume_name="shared-memory",
        mount_path="/dev/shm",  # noqa: S108
        medium="Memory",
        size_limit=size,
    )
    if not wanted.gpus:
        return
    task.set_accelerator_type(cluster.gpu.resource).set_accelerator_limit(wanted.gpus)
    for label, value in cluster.gpu.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    if cluster.gpu.taint:
        kubernetes.add_toleration(
            task, key=cluster.gpu.taint, operator="Exists", effect="NoSchedule"
        )
