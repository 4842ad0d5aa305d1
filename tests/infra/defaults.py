"""What others make of what the manifests leave out."""

from __future__ import annotations

from tests.infra.manifests import Object, Pod, name_of, of_kind, pods
from tests.infra.rules import GPU, Rule, each_container


def bare_containers_get_no_gpu(objects: list[Object]) -> list[str]:
    """Of a maximum without a default Kubernetes makes the default, limit and request alike."""
    return [
        f"{name_of(limits)}: {side} gives every container a GPU"
        for limits in of_kind(objects, "LimitRange")
        for item in limits["spec"]["limits"]
        if item["type"] == "Container"
        for side in ("max", "default", "defaultRequest", "min")
        if GPU in item.get(side, {})
    ]


def databases_speak_utf8(objects: list[Object]) -> list[str]:
    """What initdb takes by default depends on the image's locale."""

    def look(_: Pod, container: Object) -> list[str]:
        settings = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        if "PGDATA" not in settings:
            return []
        words = settings.get("POSTGRES_INITDB_ARGS", "").split()
        return [f"no {word}" for word in ("--encoding=UTF8", "--locale=C") if word not in words]

    return each_container(objects, look)


def volumes_are_given_to_who_writes(objects: list[Object]) -> list[str]:
    """A volume of block storage belongs to root until a pod with an fsGroup mounts it."""
    faults = []
    for pod in pods(objects):
        claims = ("persistentVolumeClaim", "ephemeral")
        security = pod.spec.get("securityContext", {})
        kept = any(kind in volume for volume in pod.volumes for kind in claims)
        kept = kept or bool(pod.owner["spec"].get("volumeClaimTemplates"))
        if kept and security.get("fsGroup") != security.get("runAsGroup"):
            faults.append(f"{name_of(pod.owner)}: fsGroup is not runAsGroup")
    return faults


RULES: tuple[Rule, ...] = (
    bare_containers_get_no_gpu,
    databases_speak_utf8,
    volumes_are_given_to_who_writes,
)
