"""The tools of the fault tests do what they say."""

import http.server
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults import confined
from tests.faults.proxy import Fault, Proxy

BODY = b"x" * 5000


class Server(http.server.ThreadingHTTPServer):
    """Counts what reaches it."""

    posts = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def behind() -> Iterator[tuple[Proxy, Server]]:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Proxy(server.server_address[1]) as proxy:
        yield proxy, server
    server.shutdown()
    server.server_close()


def post(proxy: Proxy, path: str = "/a/b?c=d") -> requests.Response:
    return requests.post(f"http://127.0.0.1:{proxy.port}{path}", data=b"1234", timeout=20)


def test_without_a_fault_everything_passes(behind: tuple[Proxy, Server]) -> None:
    proxy, server = behind
    with requests.Session() as session:
        for _ in range(3):
            url = f"http://127.0.0.1:{proxy.port}/a/b?c=d"
            assert session.post(url, data=b"1234", timeout=20).content == BODY
    assert (server.posts, proxy.seen["POST /a/b"]) == (3, 3)


@pytest.mark.parametrize(
    ("fault", "reached"),
    [
        (Fault("drop"), 1),
        (Fault("cut", 2000), 1),
        (Fault("refuse"), 0),
    ],
    ids=str,
)
def test_an_answer_that_is_lost_is_lost_once(
    fault: Fault, reached: int, behind: tuple[Proxy, Server]
) -> None:
    proxy, server = behind
    proxy.plan(fault)
    with pytest.raises(requests.RequestException):
        post(proxy)
    assert server.posts == reached
    assert len(proxy.done) == 1
    assert post(proxy).content == BODY


def test_a_status_is_answered_for_the_server(behind: tuple[Proxy, Server]) -> None:
    proxy, server = behind
    proxy.plan(Fault("status", 503, path="POST /a", times=2))
    assert [post(proxy).status_code for _ in range(3)] == [503, 503, 200]
    assert server.posts == 1


@pytest.mark.parametrize("fault", [Fault("latency", 0.2), Fault("slow", 0.05)], ids=str)
def test_what_is_slow_arrives_whole(fault: Fault, behind: tuple[Proxy, Server]) -> None:
    proxy, _ = behind
    proxy.plan(fault)
    assert post(proxy).content == BODY
    assert len(proxy.done) == 1


def test_only_what_fits_is_hurt(behind: tuple[Proxy, Server]) -> None:
    proxy, _ = behind
    proxy.plan(Fault("refuse", path="POST /other"))
    assert post(proxy).status_code == 200


def test_the_third_request_is_hurt(behind: tuple[Proxy, Server]) -> None:
    proxy, _ = behind
    proxy.plan(Fault("status", 503, after=2))
    assert [post(proxy).status_code for _ in range(4)] == [200, 200, 503, 200]


def test_a_server_that_is_away_refuses(behind: tuple[Proxy, Server]) -> None:
    proxy, server = behind
    server.shutdown()
    server.server_close()
    with pytest.raises(requests.ConnectionError):
        post(proxy)


PYTHON = (sys.executable, "-c")


def test_a_child_has_no_network() -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 2)"
    done = confined.run([*PYTHON, code], network=False)
    assert "Network is unreachable" in done.stderr


def test_a_child_has_little_memory() -> None:
    done = confined.run([*PYTHON, "bytearray(300 << 20)"], data_mib=200)
    assert "MemoryError" in done.stderr
    assert confined.run([*PYTHON, "bytearray(300 << 20)"]).returncode == 0
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_a_child_has_a_small_disk(tmp_path: Path) -> None:
    code = f"open('{tmp_path}/file', 'wb').write(bytes(100_000))"
    done = confined.run([*PYTHON, code], disks={tmp_path: "64k"})
    assert "No space left on device" in done.stderr
    assert [*tmp_path.iterdir()] == []
