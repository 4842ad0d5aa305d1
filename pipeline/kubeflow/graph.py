"""The graph of dvc.yaml as a Kubeflow pipeline, and what each task asks of Kubernetes."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from kfp import dsl, kubernetes

from components import STEPS
from components.io import params
from pipeline.kubeflow import components
from pipeline.kubeflow.resources import ClusterParams, GpuTask

NAME = "image-classification"

# Where a standing volume is mounted, and what its runs share, seen from the folder of one of them.
_MOUNT = "/workspace"
SHARED = "../../shared"

# Tasks with the pods of a step.
_LIKE = {"fetch_branch": "fetch", "note_branch": "register"}

_DESCRIPTION = "Class folders of images in, a reviewed model version out."


def workspace_of(cluster: ClusterParams) -> str:
    """The folder of a run as its tasks see it: its own volume, or a folder of the standing one."""
    if cluster.workspace_claim:
        return f"{_MOUNT}/runs/{dsl.PIPELINE_JOB_ID_PLACEHOLDER}"
    return str(dsl.WORKSPACE_PATH_PLACEHOLDER)


class Tasks:
    """What all tasks of a pipeline have in common."""

    def __init__(
        self,
        image: str,
        cluster: ClusterParams | None,
        workspace: str,
        checkout: str,
        outputs: str,
    ) -> None:
        """Make a component of each step.

        Args:
            image: of every task.
            cluster: resources; None = a local run, on data that is there: without fetch.
            workspace: folder of the run, see `workspace_of`.
            checkout: folder of the project, relative to the workspace.
            outputs: folder that stands for `artifacts`, relative to the project.
        """
        self.cluster, self._workspace = cluster, workspace
        shared = SHARED if cluster and cluster.workspace_claim else ""
        self._layout = {"checkout": checkout, "outputs": outputs, "shared": shared}
        self._make = {
            f.__name__: dsl.component(f, base_image=image, install_kfp_package=False)
            for f in (*components.STEPS, *components.OTHERS)
        }

    def fetch(self, task: str, source: Mapping[str, Any]) -> list[Any]:
        """The first task, which a local run does without.

        Args:
            task: `fetch` or `fetch_branch`.
            source: its arguments.
        """
        if not self.cluster:
            return []
        return [self._add(task, {**source, "keep_days": self.cluster.workspace_days})]

    def chain(self, sections: Mapping[str, Any], before: Sequence[Any] = ()) -> Any:
        """All steps, one task after the other; returns the last one.

        Args:
            sections: section of params.yaml -> its content.
            before: tasks that the first step waits for.
        """
        digest: dict[str, Any] = {}
        for step in STEPS:
            arguments = {name: sections[name] for name in _sections(step)}
            if step == "tune":
                self._add_workers(arguments, before)
            task = self._add(step, {**digest, **arguments}).after(*before)
            before = [task]
            digest = digest or {"data_digest": task.outputs["Output"]}
        return task

    def note_branch(self, branch: Any, found: Mapping[str, Any]) -> Any:
        """The last task of a branch's run; `found` are the outputs of the first."""
        names = ("revision", "data_hash", *_sections("register"))
        return self._add("note_branch", {"branch": branch, **{name: found[name] for name in names}})

    def _add_workers(self, arguments: Mapping[str, Any], before: Sequence[Any]) -> None:
        """Further workers of tune, which is worker 0: it waits for their trials, and collects them.

        So nothing waits for the loop itself, and tuning goes on with as many GPUs as there are. The
        digest is no argument: kfp.local would pass the loop's number for what comes from a task.
        The study, which is named after the data, makes sure that all workers have the same.
        """
        workers = self.cluster.workers if self.cluster else 1
        if workers > 1:
            numbers = list(range(1, workers))
            with dsl.ParallelFor(numbers, parallelism=len(numbers)) as worker:
                numbered = {**arguments, "worker": worker}
                self._add("tune", numbered).after(*before)

    def _add(self, name: str, arguments: Mapping[str, Any]) -> Any:
        make = self._make["tune_worker" if "worker" in arguments else name]
        where: dict[str, Any] = {"workspace": self._workspace, "layout": dict(self._layout)}
        task = make(**(where if name != "note_branch" else {}), **arguments)
        if self.cluster:
            _apply_resources(task, _LIKE.get(name, name), self.cluster)
            if name == "fetch_branch":
                _add_tracking(task, self.cluster.tracking_uri, self.cluster.tracking_secret)
        return task


def build(default: Mapping[str, str], tasks: Tasks) -> Any:
    """The pipeline as a kfp component; its parameters are what it fetches, and params.yaml.

    Args:
        default: section of params.yaml -> its content as JSON: the parameters' defaults.
        tasks: what it consists of.
    """

    @dsl.pipeline(  # type: ignore[untyped-decorator]
        name=NAME, description=_DESCRIPTION, pipeline_config=_volume(tasks.cluster)
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
        sections = {
            "data": data,
            "model": model,
            "validate": validate,
            "training": training,
            "tune": tune,
            "train": train,
            "evaluate": evaluate,
            "register": register,
        }
        source = {"repository": repository, "revision": revision, "data_hash": data_hash}
        verdict: str = tasks.chain(sections, tasks.fetch("fetch", source)).outputs["Output"]
        return verdict

    return image_classification


def build_branch(tasks: Tasks) -> Any:
    """The pipeline of a branch: its tip, with its params.yaml; nothing if that has a verdict.

    Args:
        tasks: what it consists of, on a cluster.
    """

    @dsl.pipeline(  # type: ignore[untyped-decorator]
        name=NAME, description=_DESCRIPTION, pipeline_config=_volume(tasks.cluster)
    )
    def image_classification(repository: str, branch: str) -> None:
        source = {"repository": repository, "branch": branch}
        (fetched,) = tasks.fetch("fetch_branch", source)
        with dsl.If(fetched.outputs["new"] == "yes", name="new"):
            tasks.note_branch(branch, fetched.outputs).after(tasks.chain(fetched.outputs))

    return image_classification


def _sections(step: str) -> list[str]:
    return list(params.sections(import_module(f"components.{step}").Params))


def _volume(cluster: ClusterParams | None) -> Any:
    """A volume for each run, unless there is a standing one."""
    if cluster is None or cluster.workspace_claim:
        return None
    claim: dict[str, Any] = {"accessModes": [cluster.access_mode]}
    if cluster.storage_class:
        claim["storageClassName"] = cluster.storage_class
    volume = dsl.KubernetesWorkspaceConfig(pvcSpecPatch=claim)
    workspace = dsl.WorkspaceConfig(size=_size(cluster.workspace_gib), kubernetes=volume)
    return dsl.PipelineConfig(workspace=workspace)


def _size(gibibytes: float) -> str:
    """As Kubernetes writes it, in whole units: kfp accepts no others."""
    return f"{gibibytes:.0f}Gi" if gibibytes.is_integer() else f"{gibibytes * 1024:.0f}Mi"


def _apply_resources(task: Any, step: str, cluster: ClusterParams) -> None:
    """Set what the task asks of the cluster."""
    resources = cluster.task(step)
    # What a task writes lies in the volume of its run: an output from another run's cache would
    # leave this volume empty.
    task.set_caching_options(enable_caching=False)
    (cores, most_cores), (memory, most_memory) = resources.cpu, resources.memory_gib
    task.set_cpu_request(f"{cores:g}").set_cpu_limit(f"{most_cores:g}")
    task.set_memory_request(_size(memory)).set_memory_limit(_size(most_memory))
    pause = f"{cluster.retry_seconds}s"
    task.set_retry(num_retries=cluster.retries, backoff_duration=pause, backoff_factor=2.0)
    kubernetes.set_timeout(task, resources.minutes * 60)
    kubernetes.set_security_context(
        task, run_as_user=cluster.user, run_as_group=cluster.user, run_as_non_root=True
    )
    # The cluster's network policies select by it who may reach the storage and the database.
    kubernetes.add_pod_label(task, "pipeline-step", step)
    if cluster.workspace_claim:
        kubernetes.mount_pvc(task, pvc_name=cluster.workspace_claim, mount_path=_MOUNT)
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")  # noqa: S108
    task.set_env_variable("HOME", "/tmp")  # noqa: S108 - its own, the only place it may write to
    _add_secrets(task, step, cluster)
    if isinstance(resources, GpuTask):
        _add_gpus(task, resources, cluster)


def _add_secrets(task: Any, step: str, cluster: ClusterParams) -> None:
    """Name the services and their secrets: each step has the keys that it uses and no others."""
    if step == "fetch":
        keys = {"access-key": "AWS_ACCESS_KEY_ID", "secret-key": "AWS_SECRET_ACCESS_KEY"}
        kubernetes.use_secret_as_env(task, cluster.storage_secret, keys)
        if cluster.repository_secret:
            keys = {"username": "GIT_USERNAME", "password": "GIT_PASSWORD"}
            kubernetes.use_secret_as_env(task, cluster.repository_secret, keys)
        if cluster.storage_endpoint:
            task.set_env_variable("AWS_ENDPOINT_URL_S3", cluster.storage_endpoint)
        return
    users = {"validate": None, "register": cluster.promoter_secret}
    _add_tracking(task, cluster.tracking_uri, users.get(step, cluster.tracking_secret))
    if step == "tune" and cluster.optuna_secret:
        kubernetes.use_secret_as_env(task, cluster.optuna_secret, {"uri": "OPTUNA_STORAGE"})
        if cluster.ca_secret:
            kubernetes.use_secret_as_volume(task, cluster.ca_secret, mount_path="/ca")


def _add_tracking(task: Any, uri: str, secret: str | None) -> None:
    task.set_env_variable("MLFLOW_TRACKING_URI", uri)
    if secret:
        keys = {"username": "MLFLOW_TRACKING_USERNAME", "password": "MLFLOW_TRACKING_PASSWORD"}
        kubernetes.use_secret_as_env(task, secret, keys)


def _add_gpus(task: Any, resources: GpuTask, cluster: ClusterParams) -> None:
    kubernetes.empty_dir_mount(
        task,
        volume_name="shared-memory",
        mount_path="/dev/shm",  # noqa: S108
        medium="Memory",
        size_limit=_size(resources.shared_memory_gib),
    )
    if not resources.gpus:
        return
    task.set_accelerator_type(cluster.gpu.resource).set_accelerator_limit(resources.gpus)
    for label, value in cluster.gpu.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    if cluster.gpu.taint:
        kubernetes.add_toleration(
            task, key=cluster.gpu.taint, operator="Exists", effect="NoSchedule"
        )
