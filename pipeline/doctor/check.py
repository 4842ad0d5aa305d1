"""What a check of `doctor` found, and how a check is run: in time, and never with a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from components.core.errors import InvalidParams, MissingInput, PipelineError, ServiceUnavailable
from pipeline.deadline import call_with_timeout

Status = Literal["pass", "warn", "fail", "skipped"]

TIMEOUT_SECONDS = 10.0


class CheckResult(NamedTuple):
    """The outcome of one check.

    Attributes:
        status: skipped = it could not be checked, which is not passed.
        found: what is there.
        hint: what to do next; empty when there is nothing to do.
        service: a failure that only says that a service did not answer.
    """

    status: Status
    found: str
    hint: str = ""
    service: bool = False


Check = Callable[[], CheckResult]


def run_check(check: Check, seconds: float | None = None) -> CheckResult:
    """Run a check; whatever it raises becomes a result.

    Args:
        check: what to run.
        seconds: that it may take; None = as most.
    """
    seconds = seconds or TIMEOUT_SECONDS
    try:
        return call_with_timeout(seconds, check)
    except TimeoutError:
        return CheckResult(
            "skipped",
            f"not known after {seconds:.0f} s",
            "run it again when the machine is idle",
        )
    except (InvalidParams, MissingInput) as error:
        return CheckResult("skipped", str(error))
    except ServiceUnavailable as error:
        return CheckResult("fail", str(error), service=True)
    except PipelineError as error:
        return CheckResult("fail", str(error))
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return CheckResult("fail", f"the check itself failed ({what})", "please report it")


def at_least(found: str, minimum: str) -> bool:
    """Whether the release `found` is `minimum` or later; False for what names no release."""
    numbers = _numbers(found)
    return bool(numbers) and numbers >= _numbers(minimum)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()
