"""The overlays keep every rule, and every rule fails when what it looks at is changed."""

import json

import pytest

from tests.infra import access, defaults, rules
from tests.infra.manifests import ALL, KUSTOMIZE, build, of_kind, pods
from tests.infra.mutations import ACCESS, DROP, SECURITY, Mutation, mutated
from tests.infra.rules import Rule

RULES = (*rules.RULES, *defaults.RULES, *access.RULES)


@pytest.mark.row("I01", "I12")
@pytest.mark.parametrize("overlay", ALL)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_is_kept(rule: Rule, overlay: str) -> None:
    assert rule(build(overlay)) == []


@pytest.mark.row("I05")
@pytest.mark.parametrize("mutation", [*SECURITY, *ACCESS], ids=str)
def test_a_planted_fault_fails_its_rule(mutation: Mutation) -> None:
    assert mutation.rule(mutated(mutation)) != []


def test_every_rule_has_a_mutation() -> None:
    assert {mutation.rule for mutation in (*SECURITY, *ACCESS)} == set(RULES)


@pytest.mark.parametrize("mutation", [*SECURITY, *ACCESS], ids=str)
def test_no_mutation_only_repeats_what_stands_there(mutation: Mutation) -> None:
    before, after = build(mutation.overlay), mutated(mutation)
    assert json.dumps(before) != json.dumps(after)
    assert mutation.value is DROP or mutation.path or mutation.target == "+"


@pytest.mark.row("I01")
@pytest.mark.parametrize("overlay", ALL)
def test_dropping_any_security_field_of_any_container_is_seen(overlay: str) -> None:
    objects = build(overlay)
    for pod in pods(objects):
        for container in pod.containers:
            context = container["securityContext"]
            for key in list(context):
                value = context.pop(key)
                assert rules.containers_are_restricted(objects), (pod.name, container["name"], key)
                context[key] = value


@pytest.mark.parametrize("overlay", ALL)
def test_dropping_any_security_field_of_any_pod_is_seen(overlay: str) -> None:
    objects = build(overlay)
    for pod in pods(objects):
        for key in ("runAsNonRoot", "runAsUser", "seccompProfile"):
            value = pod.spec["securityContext"].pop(key)
            assert rules.pods_are_restricted(objects), (pod.name, key)
            pod.spec["securityContext"][key] = value
        for key in ("automountServiceAccountToken", "enableServiceLinks"):
            value = pod.spec.pop(key)
            assert rules.tokens_stay_out(objects), (pod.name, key)
            pod.spec[key] = value


@pytest.mark.parametrize("overlay", ALL)
def test_every_default_deny_carries_weight(overlay: str) -> None:
    objects = build(overlay)
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["spec"]["podSelector"] == {} and "egress" not in policy["spec"]:
            without = [thing for thing in objects if thing is not policy]
            assert rules.default_is_deny(without) != []


def test_digests_stand_in_one_place_only() -> None:
    places = [
        path.relative_to(KUSTOMIZE)
        for path in KUSTOMIZE.rglob("*.yaml")
        if "sha256:" in path.read_text()
    ]
    assert [str(place) for place in places] == ["components/images/kustomization.yaml"]
