"""An answer of MLflow's server that was cut within its head is an error and is asked for again.

What was cut before it stated the length of its body looks as if it had none, and MLflow takes an
empty answer of status 200 for one without results: no versions, no runs. RFC 9112, section 6.3: a
body may end with the connection, which cannot be told from one that was cut.
"""

from __future__ import annotations

from typing import Any

from mlflow.utils import request_utils
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ProtocolError
from urllib3.response import HTTPResponse


def _require_whole(response: HTTPResponse) -> HTTPResponse:
    """The response, if its head says where its body ends: with the connection, in HTTP/1.0.

    Raises:
        ProtocolError: it does not; urllib3 repeats the request.
    """
    ends = response.length_remaining is not None or response.chunked or response.version < 11
    if not ends and "close" not in response.headers.get("connection", "").lower():
        response.close()
        raise ProtocolError("the answer was cut before it stated its length")
    return response


class _Connection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        return _require_whole(super().getresponse())


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        return _require_whole(super().getresponse())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(request_utils.TCPKeepAliveHTTPAdapter):
    """MLflow's own, with these connections."""

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, **settings)  # type: ignore[no-untyped-call]
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **settings: Any) -> Any:
        manager: Any = super().proxy_manager_for(*arguments, **settings)  # type: ignore[no-untyped-call]
        manager.pool_classes_by_scheme = _POOLS
        return manager


def require() -> None:
    """Have all sessions that MLflow opens from now on do so; harmless to repeat."""
    request_utils.TCPKeepAliveHTTPAdapter = _Adapter  # type: ignore[misc]
