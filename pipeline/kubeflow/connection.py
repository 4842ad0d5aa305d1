"""A connection to a Kubeflow Pipelines server. Every call has a timeout.

The SDK's own settings hold: KF_PIPELINES_ENDPOINT, KF_PIPELINES_UI_ENDPOINT,
KF_PIPELINES_SA_TOKEN_PATH (a file with a bearer token), ~/.config/kfp/context.json (a cookie).
"""

import contextlib
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import kfp_server_api
import urllib3
from kfp import client as sdk

from components.core.errors import InvalidParams, MissingInput, PipelineError, ServiceUnavailable
from components.tracking import server
from pipeline.deadline import call_with_timeout
from pipeline.kubeflow import kubectl

T = TypeVar("T")

_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_PAGES = "KF_PIPELINES_UI_ENDPOINT"
_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - names a file

_SECONDS = 8.0


class Connection:
    """A server that has answered.

    Attributes:
        endpoint: its address.
        version: of the server, as it says; empty where it does not.
        namespace: where its runs are.
        sdk: its client of the SDK, for `call`.
    """

    def __init__(self, endpoint: str | None) -> None:
        """Connect, and ask the server for its version.

        Args:
            endpoint: http(s)://host:port; None = KF_PIPELINES_ENDPOINT.

        Raises:
            PipelineError: there is no such address, or it refuses.
            ServiceUnavailable: it does not answer.
        """
        self.endpoint = _address(endpoint)
        # With any namespace but its default the constructor asks the server nothing.
        self.sdk = self._connect(namespace=kubectl.NAMESPACE)
        health = self.call(self._health)
        # From the server itself, or from its UI, which proxies the rest.
        self.version = str(health.get("tag_name") or health.get("apiServerTagName") or "")
        several = bool(health["multi_user"])
        # A server of a single user keeps its runs beside itself, and refuses any other namespace.
        self.namespace = kubectl.NAMESPACE if several else "kubeflow"
        if not several:
            self.sdk = self._connect()

    @property
    def where(self) -> str:
        """The server, for messages."""
        return f"Kubeflow Pipelines at {self.endpoint}"

    @property
    def pages(self) -> str:
        """The address of its pages, without a slash at its end."""
        return os.environ.get(_PAGES, self.endpoint).rstrip("/")

    def call(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """Call the SDK with a timeout; its errors become ours.

        Args:
            call: uses `sdk`.
            seconds: how long it may take; None = as long as a question.

        Raises:
            PipelineError: the server refuses.
            ServiceUnavailable: it does not answer.
        """
        seconds, where = seconds or _SECONDS, self.where
        try:
            with _quiet():
                return call_with_timeout(seconds, call)
        except kfp_server_api.ApiException as error:
            raise _refused(where, error) from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            late = f"no answer in {seconds:g} s"
            found = late if isinstance(error, TimeoutError) else _reason(error)
            raise ServiceUnavailable(
                f"{where} does not answer ({found}). Check the address (--endpoint or {_ENDPOINT}) "
                "and the port-forward."
            ) from error
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise not_kubeflow(where, f" ({type(error).__name__}: {error})") from error

    def _connect(self, **more: str) -> Any:
        credentials = None
        if token := os.environ.get(_TOKEN):
            if not Path(token).is_file():
                raise MissingInput(f"{_TOKEN}: there is no file {token}; write the token there.")
            credentials = sdk.ServiceAccountTokenVolumeCredentials(token)
        return self.call(lambda: sdk.Client(self.endpoint, credentials=credentials, **more))

    def _health(self) -> Mapping[str, Any]:
        # Not through the SDK's model, which leaves the version out.
        found = self.sdk.healthzs.api_client.call_api(
            "/apis/v2beta1/healthz",
            "GET",
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
        if isinstance(found, dict) and found.get("apiServerReady") is False:
            raise ConnectionError("its API server is not ready")
        if not isinstance(found, dict) or "multi_user" not in found:
            raise ValueError("no `multi_user` in /apis/v2beta1/healthz")
        return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK prints links and warnings of its own, and logs failures with tracebacks."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _address(endpoint: str | None) -> str:
    found = endpoint or os.environ.get(_ENDPOINT)
    if not found:
        raise MissingInput(
            f"Kubeflow Pipelines: no address; pass --endpoint URL or set {_ENDPOINT}. Locally: "
            "`kubectl -n kubeflow port-forward service/ml-pipeline-ui 8080:80`, then "
            "http://127.0.0.1:8080."
        )
    if not re.fullmatch(r"https?://[^@\s]+", found):
        raise InvalidParams(
            f"Kubeflow Pipelines: {server.without_credentials(found)!r} is no address; it should "
            f"be http(s)://HOST:PORT without a password. Correct --endpoint or {_ENDPOINT}."
        )
    return found.rstrip("/")


def not_kubeflow(where: str, detail: str = "") -> PipelineError:
    """The error of an answer that is none of Kubeflow's."""
    return PipelineError(
        f"{where} answers, but not as Kubeflow Pipelines{detail}: it may be a login page. Check "
        f"the address; a token goes into a file that {_TOKEN} names."
    )


def _refused(where: str, error: Any) -> PipelineError:
    status = int(error.status or 0)
    if status in (401, 403):
        return PipelineError(f"{where} does not let you in (HTTP {status}); {_way_in(status)}")
    message = f"HTTP {status}: {_message(error)}" if status else _message(error)
    if status >= 500:
        return ServiceUnavailable(f"{where} fails ({message}); try again later.")
    kind = MissingInput if status == 404 else PipelineError
    return kind(f"{where} refuses ({message}); `python -m pipeline doctor --cluster`.")


def _way_in(status: int) -> str:
    token = os.environ.get(_TOKEN)
    if not token:
        return f"write a token into a file and its path into {_TOKEN}."
    if status == 401:
        return f"the token in {token} ({_TOKEN}) may have expired: write a new one."
    return f"whose token is in {token} ({_TOKEN}) has no right to it: ask for it."


def _message(error: Any) -> str:
    """The first line of the server's message."""
    try:
        body = json.loads(error.body)
        text = str(body.get("message") or body.get("error") or error.reason)
    except (TypeError, ValueError, AttributeError):
        text = str(error.reason)
    return (text.splitlines() or ["no message"])[0][:300]


def _reason(error: Exception) -> str:
    """`Connection refused` out of the three errors that urllib3 wraps around it."""
    return str(getattr(error, "reason", error)).rpartition(": ")[2]
