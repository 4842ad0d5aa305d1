"""Evidence as evaluate and validate would have written it."""

from tests.components.registry.conftest import evidence as evidence
