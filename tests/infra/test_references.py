"""Names lead to something; each reference broken in turn fails its rule."""

import pytest

from tests.infra.broken_references import REFERENCES
from tests.infra.manifests import ALL, build
from tests.infra.mutations import Mutation, mutated
from tests.infra.references import RULES
from tests.infra.rules import Rule


@pytest.mark.row("I03")
@pytest.mark.parametrize("overlay", ALL)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_reference_resolves(rule: Rule, overlay: str) -> None:
    assert rule(build(overlay)) == []


@pytest.mark.row("I03")
@pytest.mark.parametrize("mutation", REFERENCES, ids=str)
def test_a_broken_reference_is_seen(mutation: Mutation) -> None:
    assert mutation.rule(mutated(mutation)) != []


def test_every_rule_has_a_mutation() -> None:
    assert {mutation.rule for mutation in REFERENCES} == set(RULES)
