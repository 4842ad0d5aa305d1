"""Section `cluster` of params.yaml: what each step asks of Kubernetes. Imports no kfp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Cores = Annotated[float, Field(ge=0.1, le=512)]
Gibibytes = Annotated[float, Field(ge=0.25, le=65536)]


Url = Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CpuTask(_Section):
    """A step without a GPU; the pairs are request and limit."""

    cpu: tuple[Cores, Cores] = Field(description="Cores, request and limit.")
    memory_gib: tuple[Gibibytes, Gibibytes] = Field(description="GiB, request and limit.")
    minutes: int = Field(ge=1, le=43200, description="Then the task is killed.")

    @model_validator(mode="after")
    def _request_fits_limit(self) -> CpuTask:
        for low, high in (self.cpu, self.memory_gib):
            if low > high:
                raise ValueError(f"[{low:g}, {high:g}] asks for more than its limit; swap them")
        return self


class GpuTask(CpuTask):
    """A step that trains. Its shared memory is part of its memory limit."""

    gpus: int = Field(
        ge=0,
        le=8,
        description="GPUs of the task, on one node; 0 = it trains on CPUs. train uses all of them, "
        "tune one.",
    )
    shared_memory_gib: Gibibytes = Field(description="Size of /dev/shm, part of memory_gib.")

    @model_validator(mode="after")
    def _shared_memory_fits(self) -> GpuTask:
        if self.shared_memory_gib >= self.memory_gib[1]:
            raise ValueError("shared_memory_gib is taken from memory_gib; make it smaller")
        return self


class Gpu(_Section):
    """How the cluster names its GPUs, and where they are."""

    resource: str = Field(
        pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$", description="Resource name of the device plugin."
    )
    node_selector: dict[str, str] = Field(description="Labels of the nodes with GPUs.")
    taint: str | None = Field(description="Key tolerated with the effect NoSchedule; null = none.")


class ClusterParams(_Section):
    """Section `cluster` of params.yaml. Secrets are named here, never written.

    `validate` and `register` are attributes of pydantic's BaseModel, hence the aliases.
    """

    workspace_claim: Name | None = Field(
        description="A standing volume that runs share; null = a new volume for each run."
    )
    workspace_days: int = Field(
        ge=1, le=365, description="On a standing volume: then the folder of an idle run is deleted."
    )
    workspace_gib: Gibibytes = Field(description="Size of the volume of one run.")
    storage_class: Name | None = Field(description="Of that volume; null = the cluster's default.")
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = Field(
        description="Of that volume; several workers need ReadWriteMany."
    )
    tracking_uri: Url = Field(description="MLflow, as seen from a pod; without a password.")
    repository_secret: Name | None = Field(
        description="Keys username, password of a private git repository, for fetch; null = public."
    )
    tracking_secret: Name = Field(
        description="Keys username, password for MLflow; tune, train and evaluate have it."
    )
    promoter_secret: Name = Field(
        description="The same keys; only register has it, and may move an alias."
    )
    storage_secret: Name = Field(description="Keys access-key, secret-key of S3; for fetch.")
    storage_endpoint: Url | None = Field(
        description="Of an S3 that is not AWS; null = what .dvc/config says, which wins anyway."
    )
    optuna_secret: Name | None = Field(
        description="Key uri, the database of the study, for tune; null = a file."
    )
    ca_secret: Name | None = Field(
        description="Key ca.crt, mounted at /ca, which that uri names; null = not needed."
    )
    user: int = Field(ge=1, description="Numeric user of the image.")
    retries: int = Field(ge=0, le=10, description="When a machine or a service fails.")
    retry_seconds: int = Field(ge=1, le=3600, description="Before the first retry; then doubled.")
    workers: int = Field(
        ge=1, le=64, description="Of tune, each a pod like it; they share its budget."
    )
    gpu: Gpu = Field(description="How the cluster names its GPUs.")
    fetch: CpuTask = Field(description="What fetch asks for.")
    validate_: CpuTask = Field(alias="validate", description="What validate asks for.")
    tune: GpuTask = Field(description="What tune and each of its workers ask for.")
    train: GpuTask = Field(description="What train asks for.")
    evaluate: CpuTask = Field(description="What evaluate asks for.")
    register_: CpuTask = Field(alias="register", description="What register asks for.")

    @model_validator(mode="after")
    def _workers_can_meet(self) -> ClusterParams:
        if self.workers > 1 and (self.access_mode == "ReadWriteOnce" or not self.optuna_secret):
            raise ValueError(
                "workers on several nodes need access_mode ReadWriteMany and an optuna_secret; "
                "or set workers to 1"
            )
        return self

    @model_validator(mode="after")
    def _tune_uses_its_gpus(self) -> ClusterParams:
        if self.tune.gpus > 1:
            raise ValueError(
                f"tune.gpus {self.tune.gpus}: a trial uses one GPU; set it to 1 and "
                "cluster.workers to the number of GPUs"
            )
        return self

    @model_validator(mode="after")
    def _no_running_step_is_old(self) -> ClusterParams:
        # A step says when it starts, not while it runs.
        longest = max(task.minutes for _, task in self if isinstance(task, CpuTask))
        if self.workspace_claim and self.workspace_days * 24 * 60 <= longest:
            raise ValueError(
                f"workspace_days {self.workspace_days} is no longer than the longest step may take "
                f"({longest} minutes), whose folder would be deleted under it; raise it"
            )
        return self

    def task(self, step: str) -> CpuTask:
        """What the step of this name asks for."""
        found = getattr(self, {"validate": "validate_", "register": "register_"}.get(step, step))
        assert isinstance(found, CpuTask)
        return found


@dataclass(frozen=True, kw_only=True)
class Params:
    """The section that `compile` reads."""

    cluster: ClusterParams
