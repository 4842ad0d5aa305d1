"""A TCP proxy that hurts: it delays, cuts, refuses, or forwards a request and drops its answer.

Bytes are passed on as they are, so that it may stand before MLflow, S3 or PostgreSQL. Faults that
choose a request look at the first line of an HTTP request.
"""

import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_BLOCK = 1 << 16
_SLICE = 1 << 10

Kind = Literal["latency", "slow", "cut", "drop", "status", "refuse"]


@dataclass
class Fault:
    """What is done to how many requests.

    Attributes:
        kind: latency waits `amount` s before the request is passed on; slow passes the answer on in
            pieces, `amount` s apart; cut ends the connection after `amount` bytes of the answer;
            drop ends it instead of the answer, which the server has given; status answers with
            `amount` itself; refuse ends the connection before it is passed on.
        amount: seconds, bytes or an HTTP status.
        path: regular expression of "METHOD /path"; all by default.
        times: so many requests; then it is over.
        after: so many requests that fit are left alone before.
    """

    kind: Kind
    amount: float = 0.0
    path: str = ""
    times: int = 1
    after: int = 0

    def __str__(self) -> str:
        """As it is printed: enough to do it again."""
        which = f"{self.path or 'any'} request, after {self.after}"
        return f"{self.kind} {self.amount:g}, {self.times} x {which}"


class Proxy:
    """Listens on a free port of this machine; ends with the block.

    Attributes:
        port: where it listens.
        seen: requests, counted by "METHOD /path" without the query.
        done: faults that happened, as text.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.seen: Counter[str] = Counter()
        self.done: list[str] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "Proxy":
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self) -> None:
        """Begin, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """End; a second time does nothing."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._thread.ident is not None:
            self._thread.join()

    def plan(self, *faults: Fault) -> None:
        """Do this to the next requests that fit, instead of what was planned before."""
        with self._lock:
            self._faults = [*faults]

    def _next(self, request: str) -> Fault | None:
        with self._lock:
            self.seen[request.partition("?")[0]] += 1
            for fault in self._faults:
                if not re.search(fault.path, request):
                    continue
                fault.after -= 1
                if fault.after < 0 < fault.times:
                    fault.times -= 1
                    self.done.append(f"{fault.kind} {fault.amount:g} {request.partition('?')[0]}")
                    return fault
        return None

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        connection = _Connection(self, client, server)
        threading.Thread(target=connection.pass_answers, daemon=True).start()
        connection.pass_requests()


class _Connection:
    """One client and its server; the fault of the request that waits for its answer."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._fault: Fault | None = None

    def pass_requests(self) -> None:
        with suppress(OSError):
            while block := self._client.recv(_BLOCK):
                if first := _REQUEST.match(block):
                    request = b" ".join(first.groups()).decode("latin-1")
                    self._fault = self._proxy._next(request)
                if not self._before(self._fault):
                    break
                self._server.sendall(block)
        self._end()

    def _before(self, fault: Fault | None) -> bool:
        """Do to a request what is done before it is passed on; whether it is."""
        if fault is None:
            return True
        if fault.kind == "latency":
            time.sleep(fault.amount)
        if fault.kind == "status":
            head = f"HTTP/1.1 {fault.amount:.0f} Planned\r\nContent-Length: 0\r\n"
            self._client.sendall(head.encode() + b"Connection: close\r\n\r\n")
        return fault.kind not in ("status", "refuse")

    def pass_answers(self) -> None:
        passed = 0
        with suppress(OSError):
            while block := self._server.recv(_BLOCK):
                fault = self._fault
                if fault is None or fault.kind in ("latency", "status", "refuse"):
                    self._client.sendall(block)
                    continue
                if fault.kind == "slow":
                    self._trickle(block, fault.amount)
                    continue
                limit = int(fault.amount) if fault.kind == "cut" else 0
                self._client.sendall(block[: max(limit - passed, 0)])
                passed += len(block)
                if passed >= limit:
                    break
        self._end()

    def _trickle(self, block: bytes, pause: float) -> None:
        for start in range(0, len(block), _SLICE):
            self._client.sendall(block[start : start + _SLICE])
            time.sleep(pause)

    def _end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
