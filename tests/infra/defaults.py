"""What others make of what the manifests leave out."""

from __future__ import annotations

from tests.infra.manifests import Object, Pod, name_of, of_kind
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


RULES: tuple[Rule, ...] = (bare_containers_get_no_gpu, databases_speak_utf8)
