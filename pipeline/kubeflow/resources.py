"""Section `cluster` of params.yaml: what each step asks of Kubernetes. Imports no kfp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Cores = Annotated[float, Field(ge=0.1, le=512)]
Gibibytes = Annotated[float, Field(ge=0.25, le=65536)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CpuTask(_Section):
    """A step without a GPU; the pairs are request and limit."""

    cpu: tuple[Cores, Cores]
    memory_gib: tuple[Gibibytes, Gibibytes]
    minutes: Annotated[int, Field(ge=1, le=43200)]

    @model_validator(mode="after")
    def _request_fits_limit(self) -> CpuTask:
        for low, high in (self.cpu, self.memory_gib):
            if low > high:
                raise ValueError(f"[{low:g}, {high:g}] asks for more than its limit; swap them")
        return self


class GpuTask(CpuTask):
    """A step that trains. Its shared memory is part of its memory limit."""

    gpus: Annotated[int, Field(ge=0, le=8)]
    shared_memory_gib: Gibibytes

    @model_validator(mode="after")
    def _shared_memory_fits(self) -> GpuTask:
        if self.shared_memory_gib >= self.memory_gib[1]:
            raise ValueError("shared_memory_gib is taken from memory_gib; make it smaller")
        return self


class Gpu(_Section):
    """How the cluster names its GPUs, and where they are."""

    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$")]
    node_selector: dict[str, str]
    taint: str | None = Field(description="Key that is tolerated with the effect NoSchedule.")


class ClusterParams(_Section):
    """Section `cluster` of params.yaml. Secrets are named here, never written."""

    workspace_gib: Gibibytes
    storage_class: Name | None
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"]
    tracking_uri: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]
    repository_secret: Name | None
    tracking_secret: Name
    promoter_secret: Name
    storage_secret: Name
    storage_endpoint: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None
    optuna_secret: Name | None
    ca_secret: Name | None
    user: Annotated[int, Field(ge=1)]
    retries: Annotated[int, Field(ge=0, le=10)]
    retry_seconds: Annotated[int, Field(ge=1, le=3600)]
    workers: Annotated[int, Field(ge=1, le=64)]
    gpu: Gpu
    fetch: CpuTask
    validate_: CpuTask = Field(alias="validate")  # pydantic's BaseModel has a `validate`
    tune: GpuTask
    train: GpuTask
    evaluate: CpuTask
    register_: CpuTask = Field(alias="register")  # and, by way of ABC, a `register`

    @model_validator(mode="after")
    def _workers_can_meet(self) -> ClusterParams:
        if self.workers > 1 and (self.access_mode == "ReadWriteOnce" or not self.optuna_secret):
            raise ValueError(
                "workers on several nodes need access_mode ReadWriteMany and an optuna_secret; "
                "or set workers to 1"
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
