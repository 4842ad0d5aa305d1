"""The REST paths of Kubeflow Pipelines 2.18 that `submit` and `doctor` use, on a port of loopback.

What the SDK posts is kept; a posted run is answered as the server answers: its tasks are the nodes
of the workflow, flat and with the server's own ones between them.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

RUN = "5f2c8f0e-0f0b-4c36-9f54-3b8a6f5f7d10"
BEGAN = "2026-11-22T10:00:00Z"

# What the server writes for a moment that has not come.
NEVER = "0001-01-01T00:00:00Z"


def node(name: str, state: str, start: int | None = 0, end: int | None = None) -> dict[str, Any]:
    """A task as the API lists it; `start` and `end` are seconds after the run began, or never."""
    return {
        "run_id": RUN,
        "task_id": f"{name}-{start}",
        "display_name": name.partition("#")[0],
        "create_time": BEGAN,
        "start_time": _moment(start),
        "end_time": _moment(end),
        "state": state,
        "child_tasks": [{"pod_name": f"image-classification-x7x9l-{1000 + (start or 0)}"}],
    }


def _moment(second: int | None) -> str:
    if second is None:
        return NEVER
    return f"2026-11-22T10:{second // 60:02}:{second % 60:02}Z"


class Kubeflow:
    """A server with settings that a test may change while it runs.

    Attributes:
        looks: state and nodes of the run, one for each look at it; the last one stays.
        posted: bodies of POST, by path.
        health: what the server's pages make of its answer; empty = the server's own.
        lost: so many more answers to POST about pipelines never arrive; what they made is made.
        token: bearer token that it wants; None = none.
        broken: answers 503 to everything.
        page: answered instead, on paths that begin with `page_path`.
        schedules: recurring runs, the oldest first.
        after: what happens after the n-th look at the run; 0 = when it is posted.
        pipelines: names of pipelines, which are their ids as well.
        versions: name -> version, as the server keeps it.
        answering: while it is cleared, nothing is answered on paths that begin with `slow_path`.
    """

    def __init__(self) -> None:
        self.looks: list[tuple[str, list[dict[str, Any]]]] = [("SUCCEEDED", [])]
        self.posted: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.token: str | None = None
        self.version = "2.18.1"
        self.multi_user = True
        self.health: dict[str, Any] = {}
        self.broken = False
        self.page: bytes | None = None
        self.page_path = self.slow_path = "/"
        self.answering = threading.Event()
        self.answering.set()
        self.after: dict[int, Callable[[], object]] = {}
        self.count = 0
        self.refusal: dict[str, Any] | None = None
        self.error = ""
        self.spec: dict[str, Any] = {}
        self.pipelines: list[str] = []
        self.versions: dict[str, dict[str, Any]] = {}
        self.lost = 0
        self.schedules: list[dict[str, Any]] = []
        self.url = ""

    def respond(
        self, method: str, path: str, authorization: str | None, body: dict[str, Any]
    ) -> tuple[int, bytes]:
        """Status and content, with the faults that are set."""
        if path.startswith(self.slow_path):
            self.answering.wait(60)
        if self.broken:
            return 503, b"upstream connect error"
        if self.token and authorization != f"Bearer {self.token}":
            return 401, b'{"error": "Request header error: there is no user identity"}'
        if self.page is not None and path.startswith(self.page_path):
            return 200, self.page
        status, found = self.answer(method, path, body)
        return status, json.dumps(found).encode()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer."""
        self.asked.append(f"{method} {path}")
        place = path.partition("?")[0].removeprefix("/apis/v2beta1/")
        if place.startswith("pipelines"):
            return self._pipelines(method, path, body)
        if place == "healthz":
            found = {"commit_sha": "unknown", "tag_name": self.version}
            return 200, self.health or {**found, "multi_user": self.multi_user}
        if place.startswith("recurringruns"):
            return 200, self._recurring(method, place, body)
        if method == "POST":
            return self._post(place, body)
        if place == "experiments":
            return 200, {}
        if place == f"runs/{RUN}":
            return 200, self._run()
        return 404, {"error": f"Run {place} not found", "code": 5, "message": "not found"}

    def _post(self, place: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refusal and place == "runs":
            return 400, self.refusal
        self.posted[place] = body
        if place == "runs":
            self.after.get(0, bool)()
        return 200, {**body, "run_id": RUN, "experiment_id": "e1", "created_at": BEGAN}

    def _pipelines(
        self, method: str, path: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        url = urlsplit(path)
        *_, last = url.path.split("/")
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if method == "POST":
            return (
                self._make(body["display_name"], {})
                if last == "pipelines"
                else self._make(query["name"], {**query, **body})
            )
        if "filter" not in query:
            return (200, self.versions[last]) if last in self.versions else (404, {"message": "x"})
        (wanted,) = json.loads(query["filter"])["predicates"]
        name = wanted["stringValue"]
        if last == "versions":
            found = [each for key, each in self.versions.items() if key == name]
            return 200, {"pipeline_versions": found}
        return 200, {"pipelines": [{"pipeline_id": name}] if name in self.pipelines else []}

    def _make(self, name: str, version: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if name in self.versions if version else name in self.pipelines:
            return 409, {"code": 6, "message": f"{name} exists"}
        found = {"pipeline_id": version.get("pipelineid", name)}
        if version:
            found |= {"pipeline_version_id": name, "display_name": name, **version}
            self.versions[name] = found
        else:
            self.pipelines.append(name)
        self.lost -= 1
        return (504, {"message": "gateway timeout"}) if self.lost >= 0 else (200, found)

    def _recurring(self, method: str, place: str, body: dict[str, Any]) -> dict[str, Any]:
        """Two to a page, the token being where the next one begins."""
        if method == "DELETE":
            name = place.partition("/")[2]
            self.schedules = [s for s in self.schedules if s["recurring_run_id"] != name]
            return {}
        if method == "POST":
            name = f"recurring-{len(self.schedules) + 1}"
            self.schedules.append({**body, "recurring_run_id": name, "status": "ENABLED"})
            return self.schedules[-1]
        start = int(parse_qs(self.asked[-1].partition("?")[2]).get("page_token", ["0"])[0])
        rest = len(self.schedules) > start + 2
        found = {"recurringRuns": self.schedules[start : start + 2]}
        return {**found, "next_page_token": str(start + 2)} if rest else found

    def _run(self) -> dict[str, Any]:
        self.count += 1
        self.after.get(self.count, bool)()
        state, nodes = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        # Of a run of a version the server passes on the reference alone.
        posted = self.posted.get("runs", {"pipeline_spec": self.spec})
        found = {**posted, "run_id": RUN, "state": state, "created_at": BEGAN}
        if self.error:
            found["error"] = {"code": 13, "message": self.error}
        return {**found, "run_details": {"task_details": nodes}}


def _read_body(content: bytes, kind: str) -> dict[str, Any]:
    """JSON, or the pipeline that is uploaded as a file of a form."""
    if not kind.startswith("multipart/"):
        found: dict[str, Any] = json.loads(content or b"{}")
        return found
    boundary = kind.partition("boundary=")[2].encode()
    text = content.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2].decode()
    pipeline_spec, platform_spec = yaml.safe_load_all(text)
    return {"pipeline_spec": {"pipeline_spec": pipeline_spec, "platform_spec": platform_spec}}


@contextmanager
def serve() -> Iterator[Kubeflow]:
    """The server, until the block ends."""
    kubeflow = Kubeflow()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = _read_body(self.rfile.read(size), self.headers.get("Content-Type") or "")
            status, content = kubeflow.respond(
                self.command, self.path, self.headers.get("authorization"), body
            )
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it waits no more
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    kubeflow.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kubeflow
    finally:
        kubeflow.answering.set()
        server.shutdown()
        server.server_close()
