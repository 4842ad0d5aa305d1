"""What a check of `doctor` found, and how a check is run: in time, and never with a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from components.core.errors import InvalidParams, MissingInput, PipelineError, ServiceUnavailable
from pipeline.deadline import within

Status = Literal["ok", "warn", "fail", "skip"]

SECONDS = 10.0


class CheckResult(NamedTuple):
    """The outcome of one check.

    Attributes:
        status: skip = it could not be asked, which is not ok.
        found: what is there.
        then: what to do next; empty when there is nothing to do.
        service: a failure that only says that somebody did not answer.
    """

    status: Status
    found: str
    then: str = ""
    service: bool = False


Check = Callable[[], CheckResult]


def run_check(check: Check) -> CheckResult:
    """Run a check; whatever it raises becomes a finding."""
    try:
        return within(SECONDS, check)
    except TimeoutError:
        return CheckResult(
            "skip", f"not known after {SECONDS:.0f} s", "run it again on a calm machine"
        )
    except (InvalidParams, MissingInput) as error:
        return CheckResult("skip", str(error))
    except ServiceUnavailable as error:
        return CheckResult("fail", str(error), service=True)
    except PipelineError as error:
        return CheckResult("fail", str(error))
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return CheckResult("fail", f"the check itself failed ({what})", "please report it")


def line(name: str, finding: CheckResult) -> str:
    """The finding as a row of the table."""
    then = f" -> {finding.then}" if finding.then else ""
    return f"{finding.status:<6}{name:<13}{' '.join(finding.found.split())}{then}"


def at_least(found: str, floor: str) -> bool:
    """Whether the release `found` is `floor` or later; False for what names no release."""
    numbers = _numbers(found)
    return bool(numbers) and numbers >= _numbers(floor)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()
