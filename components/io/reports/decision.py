"""The HTML page about a decision: what the gate found, and which answers changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from components.core.artifacts import Evaluation
from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from components.io.reports import version as version_page
from components.io.reports.pages import render, to_uris

Kind = Literal["newly wrong", "newly right"]
KINDS: tuple[Kind, Kind] = ("newly wrong", "newly right")

# What got worse weighs more than what got better.
_PICTURES: dict[Kind, int] = {"newly wrong": 24, "newly right": 12}


class Change(NamedTuple):
    """A test image that one of champion and model answers correctly and the other does not."""

    kind: Kind
    path: str
    label: str
    champion: str
    model: str
    certainty: float
    """Probability that the model gives its answer."""


def gallery(changes: Iterable[Change]) -> list[Change]:
    """Those with a picture: up to 24 newly wrong, then 12 newly right, the surest answers first."""
    surest = sorted(changes, key=lambda change: (-change.certainty, change.path))
    return [
        change
        for kind, limit in _PICTURES.items()
        for change in [found for found in surest if found.kind == kind][:limit]
    ]


def decision_page(
    receipt: DecisionRecord,
    evaluation: Evaluation,
    changes: Sequence[Change],
    thumbnails: Mapping[str, bytes],
) -> str:
    """The page; equal arguments give equal bytes.

    Args:
        receipt: what was decided.
        evaluation: what it was decided on.
        changes: all of them; empty unless the champion was compared.
        thumbnails: small JPEGs of those in the `gallery`, by path; one may be absent.
    """
    shown = gallery(changes)
    return render(
        "decision.html",
        receipt=receipt,
        headline=version_page.headline(receipt.decision, evaluation),
        checks=[(check, version_page.shown(check)) for check in receipt.decision.checks],
        words=version_page.WORDS,
        changes={kind: [c for c in changes if c.kind == kind] for kind in KINDS},
        shown={kind: [c for c in shown if c.kind == kind] for kind in KINDS},
        pictures=to_uris(thumbnails),
        digests=_digests(receipt),
        policy=_bounds(receipt.policy),
    )


def _digests(receipt: DecisionRecord) -> dict[str, str]:
    evidence, champion = receipt.evidence, receipt.evidence.champion
    digests = {
        "model": evidence.model_digest,
        "data": evidence.data_digest,
        "test images": evidence.test_digest,
        "evaluation": evidence.evaluation_sha256,
        "predictions": evidence.predictions_sha256,
        "champion": champion.model_digest,
        "champion's predictions": champion.predictions_sha256,
        "champion's data": receipt.data_diff.baseline,
    }
    return {name: digest for name, digest in digests.items() if digest}


def _bounds(policy: GatePolicy) -> list[tuple[str, str, str]]:
    """Name, value and meaning of every setting of the gate."""
    values = policy.model_dump()
    return [
        (name, _to_text(values[name]), field.description or "")
        for name, field in GatePolicy.model_fields.items()
    ]


def _to_text(value: object) -> str:
    if value is None:
        return "no bound"
    return f"{value:g}" if isinstance(value, float) else str(value)
