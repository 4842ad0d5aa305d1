"""The checks against the champion: its answers to the same images, given just now."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from components.core.evaluation import intervals
from components.core.gate.gate_input import REVIEW, Case, Outcome, outcome, percent
from components.core.gate.record import Check


def champion(case: Case) -> Check:
    """Better than the model in use, or not noticeably worse, as the policy demands."""
    incumbent = case.evidence.champion
    if incumbent.state == "compared":
        return _superior(case) if case.policy.champion_test == "superior" else _not_worse(case)
    if incumbent.state == "none":
        reason = "no champion yet: nothing to compare with"
        return outcome("champion", None, "no champion yet", "promote", reason)
    if incumbent.state == "same":
        return outcome("champion", None, "itself", "promote", "this model is the champion already")
    wanted = "comparable on the same images"
    if incumbent.state == "other_classes":
        reason = f"no comparison is possible: {incumbent.reason}; {REVIEW}"
        return outcome("champion", None, wanted, "hold", reason)
    reason = f"the champion cannot be trusted: {incumbent.reason}; see `python -m pipeline status`"
    return outcome("champion", None, wanted, "error", reason)


def _superior(case: Case) -> Check:
    """More right answers than the champion, and by more than chance explains."""
    _, nets = intervals.sum_by_group(case.answers.groups, case.paired_differences)
    chance = intervals.sign_flip_p_value(nets, two_sided=True)
    level, gain = 1 - case.confidence, int(case.paired_differences.sum()) / case.total
    verdict: Outcome = "hold"
    if gain <= 0:
        words = "not better than the champion"
    elif chance < level:
        verdict, words = "promote", "better than the champion"
    else:
        words = "too small to tell: better than the champion, but maybe by luck"
    reason = (
        f"{words}: {_counts(case)}; equal models would differ as much with a chance of "
        f"{chance:.3g}, less than {level:.3g} is wanted"
    )
    return outcome("champion", gain, f"> 0, chance < {level:.3g}", verdict, reason)


def _not_worse(case: Case) -> Check:
    """At worst, as far as these images can tell, the loss stays within the margin."""
    gained, lost = _changes(case)
    gain, margin = (gained - lost) / case.total, case.policy.margin
    low = intervals.paired_lower_bound(gained, lost, case.total, case.confidence)
    if case.grouped:
        sizes, nets = intervals.sum_by_group(case.answers.groups, case.paired_differences)
        low = min(
            low, intervals.cluster_bootstrap_lower_bound(sizes, nets, case.confidence, worst=-1)
        )
    verdict: Outcome = "hold"
    if low >= -margin:
        verdict, words = "promote", "not worse than the champion"
    elif gain >= -margin:
        words = "too small to tell whether it is worse than the champion"
    else:
        words = "worse than the champion"
    reason = (
        f"{words}: {_counts(case)}, at worst by {low:+.4f} ({percent(case.confidence)} lower "
        f"bound); {-margin:+.4f} is allowed"
    )
    return outcome("champion", low, f">= {-margin:+.4f}", verdict, reason)


def _changes(case: Case) -> tuple[int, int]:
    """Images newly right and newly wrong."""
    return int((case.paired_differences > 0).sum()), int((case.paired_differences < 0).sum())


def _counts(case: Case) -> str:
    gained, lost = _changes(case)
    after = int(case.correct.sum())
    before = after - gained + lost
    return (
        f"newly right {gained:,}, newly wrong {lost:,} of {case.total:,} images, accuracy "
        f"{before / case.total:.3f} to {after / case.total:.3f}"
    )


def per_class_regression(case: Case) -> Check:
    """No class may pay for a better mean: none falls by too much, unless chance explains it."""
    limit = case.policy.max_class_recall_drop
    if case.rival is None:
        reason = "no champion to compare with"
        return outcome("class losses", None, f"<= {limit:g}", "promote", reason)
    falls = _falls(case)
    blocking = [fall for fall in falls if fall.real and fall.loss > limit]
    worst = (blocking or falls)[0]
    reason = f"no class lost recall; {limit:g} is allowed"
    if worst.loss > 0:
        words = "more than chance explains" if worst.real else "which may be chance"
        more = f" and {len(blocking) - 1:,} more classes" if blocking[1:] else ""
        reason = (
            f"recall of {worst.name}{more} fell by {worst.loss:.3f} ({worst.images:,} images), "
            f"{words}; {limit:g} is allowed"
        )
    return outcome(
        "class losses", worst.loss, f"<= {limit:g}", "hold" if blocking else "promote", reason
    )


class _RecallDrop(NamedTuple):
    name: str
    images: int
    loss: float  # of recall; negative when the class gained
    real: bool  # more than chance explains


def _falls(case: Case) -> list[_RecallDrop]:
    """Of each class that has test images, the largest first."""
    present = np.unique(case.answers.labels).tolist()
    members = [np.flatnonzero(case.answers.labels == k) for k in present]
    chances = []
    for rows in members:
        groups = [case.answers.groups[row] for row in rows.tolist()]
        _, nets = intervals.sum_by_group(groups, -case.paired_differences[rows])
        chances.append(intervals.sign_flip_p_value(nets, two_sided=False))
    # Of many classes one falls by luck: Holm keeps that from holding an equal model back.
    real = intervals.holm(chances, (1 - case.confidence) / 2)
    falls = [
        _RecallDrop(
            case.answers.class_names[k],
            len(rows),
            int(-case.paired_differences[rows].sum()) / len(rows),
            sure,
        )
        for k, rows, sure in zip(present, members, real, strict=True)
    ]
    return sorted(falls, key=lambda fall: -fall.loss)
