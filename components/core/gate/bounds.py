"""How a check says what came out: a value, its threshold, and a sentence with both."""

from components.core.gate.record import Check, CheckStatus

REVIEW = "have a person look, then run `python -m pipeline approve`"


def make_check(
    name: str, value: float | None, threshold: str, status: CheckStatus, message: str
) -> Check:
    """One row of the decision."""
    return Check(name=name, value=value, threshold=threshold, status=status, message=message)


def at_least(name: str, value: float, bound: float, subject: str, detail: str = "") -> Check:
    """Fails when the value lies below the bound.

    Args:
        name: of the check.
        value: what was measured.
        bound: what is required.
        subject: begins the message, e.g. "macro F1 is".
        detail: follows the value.
    """
    shown, required = _tell_apart(value, bound)
    message = f"{subject} {shown} {detail}".rstrip() + f"; at least {required} is required"
    status: CheckStatus = "pass" if value >= bound else "fail"
    return make_check(name, value, f">= {required}", status, message)


def at_most(name: str, value: float, bound: float | None, subject: str, unit: str = "") -> Check:
    """Fails when the value lies above the bound; skipped without one.

    Args:
        name: of the check.
        value: what was measured.
        bound: what is allowed; None = anything.
        subject: begins the message, e.g. "the model has".
        unit: follows the value.
    """
    if bound is None:
        message = f"{subject} {value:.3f} {unit}".rstrip() + "; no bound is set"
        return make_check(name, value, "no bound", "skipped", message)
    shown, allowed = _tell_apart(value, bound)
    message = f"{subject} {shown} {unit}".rstrip() + f"; at most {allowed} is allowed"
    status: CheckStatus = "pass" if value <= bound else "fail"
    return make_check(name, value, f"<= {allowed}", status, message)


def percent(share: float) -> str:
    """0.95 -> "95 %"."""
    return f"{100 * share:.4g} %"


def _tell_apart(value: float, bound: float) -> tuple[str, str]:
    """Both with so many digits that a near miss is seen: 3 to 9."""
    digits = 3
    while value != bound and f"{value:.{digits}f}" == f"{bound:.{digits}f}" and digits < 9:
        digits += 1
    return f"{value:.{digits}f}", f"{bound:.{digits}f}"
