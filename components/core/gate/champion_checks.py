"""The checks against the champion: its predictions for the same images, made just now."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from components.core.evaluation import intervals
from components.core.gate.bounds import REVIEW, make_check, percent
from components.core.gate.gate_input import GateInput
from components.core.gate.record import Check, CheckStatus
from components.core.phrases import listing


def champion(found: GateInput) -> Check:
    """Better than the model in use, or not noticeably worse, as the policy requires."""
    opponent = found.evidence.champion
    if opponent.state == "compared":
        superior = found.policy.champion_test == "superior"
        return _superior(found) if superior else _non_inferior(found)
    if opponent.state == "none":
        return make_check("champion", None, "no champion", "skipped", "there is no champion yet")
    if opponent.state == "same":
        message = "this model is the champion"
        return make_check("champion", None, "itself", "skipped", message)
    threshold = "comparable on the same images"
    if opponent.state == "all_seen":
        message = (
            f"all {opponent.seen_test_images:,} test images were in the champion's train or val "
            f"split, so it cannot be compared; collect fresh test images, or {REVIEW}"
        )
        return make_check("champion", None, threshold, "fail", message)
    if opponent.state == "other_classes":
        message = f"the champion knows other classes: {opponent.reason}; {REVIEW}"
        return make_check("champion", None, threshold, "fail", message)
    message = f"the champion cannot be used: {opponent.reason}; see `python -m pipeline status`"
    return make_check("champion", None, threshold, "error", message)


def _superior(found: GateInput) -> Check:
    """More correct predictions than the champion, and by more than chance explains."""
    _, nets = intervals.sum_by_group(found.paired.groups, found.paired_differences)
    p_value = intervals.sign_flip_p_value(nets, two_sided=True)
    level, gain = (
        1 - found.confidence_level,
        int(found.paired_differences.sum()) / len(found.paired.paths),
    )
    status: CheckStatus = "fail"
    if gain <= 0:
        words = "not better than the champion"
    elif p_value < level:
        status, words = "pass", "better than the champion"
    else:
        words = "too few images to tell: better than the champion, but maybe by chance"
    message = f"{words}: {_counts(found)}; p = {p_value:.3g}, below {level:.3g} is required"
    return make_check("champion", gain, f"> 0, p < {level:.3g}", status, message)


def _non_inferior(found: GateInput) -> Check:
    """At worst, as far as these images can tell, the loss stays within the margin."""
    gained, lost = _flips(found)
    total = len(found.paired.paths)
    gain, margin = (gained - lost) / total, found.policy.non_inferiority_margin
    level = found.confidence_level
    low = intervals.paired_lower_bound(gained, lost, total, level)
    if found.has_groups:
        sizes, nets = intervals.sum_by_group(found.paired.groups, found.paired_differences)
        low = min(low, intervals.cluster_bootstrap_lower_bound(sizes, nets, level, worst=-1))
    status: CheckStatus = "fail"
    if low >= -margin:
        status, words = "pass", "not worse than the champion"
    elif gain >= -margin:
        words = "too few images to tell whether it is worse than the champion"
    else:
        words = "worse than the champion"
    message = (
        f"{words}: {_counts(found)}, difference at least {low:+.4f} ({percent(level)} lower "
        f"bound); {-margin:+.4f} is allowed"
    )
    return make_check("champion", low, f">= {-margin:+.4f}", status, message)


def _flips(found: GateInput) -> tuple[int, int]:
    """Images newly right and newly wrong."""
    return int((found.paired_differences > 0).sum()), int((found.paired_differences < 0).sum())


def _counts(found: GateInput) -> str:
    gained, lost = _flips(found)
    total, after = len(found.paired.paths), int(found.paired.correct.sum())
    before = after - gained + lost
    text = (
        f"newly right {gained:,}, newly wrong {lost:,} of {total:,} images, accuracy "
        f"{before / total:.3f} to {after / total:.3f}"
    )
    if seen := found.evidence.champion.seen_test_images:
        text += f" ({seen:,} test images left out: they were in the champion's train or val split)"
    return text


def per_class_regression(found: GateInput) -> Check:
    """No class may pay for a better mean: none drops by too much, unless chance explains it."""
    limit = found.policy.max_class_recall_drop
    threshold = f"<= {limit:g} beyond chance"
    if found.champion_predictions is None:
        message = "no champion to compare with"
        return make_check("per-class regression", None, threshold, "skipped", message)
    drops = _recall_drops(found)
    blocking = [drop for drop in drops if drop.significant and drop.drop > limit]
    worst = (blocking or drops)[0]
    message = f"no class lost recall; {limit:g} is allowed"
    if worst.drop > 0:
        words = "more than chance explains" if worst.significant else "which may be chance"
        names = listing([drop.name for drop in blocking or [worst]], 1)
        names += " classes" if blocking[1:] else ""
        message = (
            f"recall of {names} dropped by {worst.drop:.3f} ({worst.images:,} images), "
            f"{words}; {limit:g} is allowed"
        )
    status: CheckStatus = "fail" if blocking else "pass"
    return make_check("per-class regression", worst.drop, threshold, status, message)


class _RecallDrop(NamedTuple):
    name: str
    images: int
    drop: float  # of recall; negative when the class gained
    significant: bool  # more than chance explains


def _recall_drops(found: GateInput) -> list[_RecallDrop]:
    """Of each class that has test images, the largest first."""
    present = np.unique(found.paired.labels).tolist()
    members = [np.flatnonzero(found.paired.labels == k) for k in present]
    p_values = []
    for rows in members:
        groups = [found.paired.groups[row] for row in rows.tolist()]
        _, nets = intervals.sum_by_group(groups, -found.paired_differences[rows])
        p_values.append(intervals.sign_flip_p_value(nets, two_sided=False))
    # Of many classes one drops by luck: Holm keeps that from blocking an equal model.
    significant = intervals.holm(p_values, (1 - found.confidence_level) / 2)
    drops = [
        _RecallDrop(
            found.predictions.class_names[k],
            len(rows),
            int(-found.paired_differences[rows].sum()) / len(rows),
            beyond_chance,
        )
        for k, rows, beyond_chance in zip(present, members, significant, strict=True)
    ]
    return sorted(drops, key=lambda drop: -drop.drop)
