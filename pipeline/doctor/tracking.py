"""Whether an MLflow server answers, and its version. Imports no mlflow."""

from __future__ import annotations

import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError

from components.core.errors import PipelineError, ServiceUnavailable
from components.tracking import server
from pipeline.doctor.check import CheckResult, at_least

# Earlier versions ship a default administrator's password.
MIN_VERSION = "3.16.1"

_SECONDS = 8.0


def check_version(uri: str) -> CheckResult:
    """What the server says about itself.

    Raises:
        ServiceUnavailable: it does not answer.
        PipelineError: something else than an MLflow server answers.
    """
    shown = server.without_credentials(uri)
    try:
        address = f"{shown.rstrip('/')}/version"
        with urllib.request.urlopen(address, timeout=_SECONDS) as response:  # noqa: S310 - http(s)
            version = response.read(100).decode(errors="replace").strip()
    except HTTPError as error:
        kind = ServiceUnavailable if error.code >= 500 else PipelineError
        raise kind(f"MLflow at {shown}: HTTP {error.code}; check the address.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", "") or error
        raise ServiceUnavailable(
            f"MLflow at {shown} does not answer ({reason}); start it or correct the address."
        ) from error
    return compare_versions(f"{shown}, version {version[:20]}", version, "upgrade the server")


def compare_versions(found: str, version: str, hint: str) -> CheckResult:
    """The result for a version of MLflow."""
    if at_least(version, MIN_VERSION):
        return CheckResult("pass", found)
    return CheckResult("fail", f"{found}; {MIN_VERSION} or later is needed", hint)
