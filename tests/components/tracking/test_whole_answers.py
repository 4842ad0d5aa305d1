import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from mlflow.utils import request_utils

from components.tracking import whole_answers

LENGTH = b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\n{}"
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
CLOSES = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"
OLD = b"HTTP/1.0 200 OK\r\n\r\n{}"
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives each connection the next of them, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                client, _ = server.accept()
                with client:
                    client.recv(1 << 16)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    """As MLflow opens it, with one repetition."""
    monkeypatch.setattr(
        request_utils, "TCPKeepAliveHTTPAdapter", request_utils.TCPKeepAliveHTTPAdapter
    )
    whole_answers.require()
    request_utils._cached_get_request_session.cache_clear()
    opened = request_utils._get_request_session(1, 0, 0, (), True, True)  # type: ignore[no-untyped-call]
    assert isinstance(opened, requests.Session)
    return opened


@pytest.mark.parametrize("kept", range(LENGTH.index(b"2\r\n\r\n")))
def test_an_answer_cut_within_its_head_is_asked_for_again(
    kept: int, session: requests.Session
) -> None:
    with answering(LENGTH[:kept], LENGTH) as uri:
        assert session.post(uri).text == "{}"


@pytest.mark.parametrize("whole", [LENGTH, CHUNKS, CLOSES, OLD, NOTHING])
def test_a_whole_answer_is_taken(whole: bytes, session: requests.Session) -> None:
    with answering(whole) as uri:
        assert session.get(uri).text == ("" if whole is NOTHING else "{}")


def test_one_that_is_cut_each_time_is_an_error(session: requests.Session) -> None:
    cut = LENGTH[:30]
    with answering(cut, cut) as uri, pytest.raises(requests.ConnectionError, match="was cut"):
        session.get(uri)


def test_without_it_a_cut_answer_looks_empty() -> None:
    with answering(LENGTH[:30]) as uri:
        answer = requests.get(uri)
    assert (answer.status_code, answer.text) == (http.client.OK, "")
