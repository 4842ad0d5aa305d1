"""Kubernetes' own schemas, strictly: the version that Pod Security is pinned to, and the newest."""

from typing import Any

import kubernetes_validate
import pytest

from tests.infra.manifests import ALL, build, find
from tests.infra.rules import POD_SECURITY_VERSION

VERSIONS = (POD_SECURITY_VERSION.removeprefix("v"), "1.37")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", [*ALL, "secrets"])
def test_every_object_fits_its_schema(overlay: str, version: str) -> None:
    things = build(overlay)
    assert things, "nothing was built, so nothing would be checked"
    assert [problem for thing in things if (problem := misfit(thing, version))] == []


def misfit(thing: dict[str, Any], version: str) -> str:
    """What the schema refuses about an object; empty if it fits."""
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return f"{thing['kind']}/{thing['metadata']['name']}: {error}"
    return ""


def deployment() -> dict[str, Any]:
    return find(build("overlays/production"), "Deployment/mlflow")


@pytest.mark.row("I02")
def test_an_unknown_field_is_refused() -> None:
    thing = deployment()
    thing["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(thing, VERSIONS[0], strict=True)


@pytest.mark.row("I02")
def test_a_wrong_type_is_refused() -> None:
    thing = deployment()
    thing["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError, match="two"):
        kubernetes_validate.validate(thing, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("key", "value"), [("apiVersion", "apps/v2"), ("kind", "Deploiment")])
def test_an_unknown_kind_is_refused(key: str, value: str) -> None:
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(deployment() | {key: value}, VERSIONS[0], strict=True)
