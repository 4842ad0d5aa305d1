"""The few paths of a Kubernetes API server that kubectl asks, on a port of loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.pipeline.kfp_server import RUN

RUNS = "image-classification-runs"

_KINDS = {
    "events": "Event",
    "namespaces": "Namespace",
    "nodes": "Node",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "pods": "Pod",
    "secrets": "Secret",
    "serviceaccounts": "ServiceAccount",
    "services": "Service",
    "workflows": "Workflow",
}
_ARGO = "argoproj.io/v1alpha1"


class Cluster:
    """What is there.

    Attributes:
        names: plural of a kind -> names.
        logs: step -> its log.
        ends: step -> status of its pod; of a failed one if nothing is said.
        items: plural of a kind -> what is listed besides, as the API shows it.
        labels: of all nodes.
        namespace: of what is there.
        expired: whether it does not know the user any more.
        forbidden: plurals of kinds that the user may not see.
        asked: paths with their queries.
    """

    def __init__(self) -> None:
        self.names = {
            "namespaces": [RUNS],
            "nodes": ["gpu-1", "gpu-2"],
            "secrets": [
                "mlflow-trainer",
                "mlflow-promoter",
                "s3-dvc",
                "postgres-optuna",
                "internal-ca",
            ],
            "serviceaccounts": ["pipeline-run"],
        }
        self.logs: dict[str, str] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.labels = "nvidia.com/gpu.present=true"
        self.namespace = RUNS
        self.expired = False
        self.forbidden: set[str] = set()
        self.asked: list[str] = []
        self.url = ""

    def write_config(self, path: Path) -> Path:
        """A kubeconfig whose current context is this cluster."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Status, and JSON or text."""
        self.asked.append(path)
        if self.expired:
            return 401, _status(401, "Unauthorized", "Unauthorized")
        if found := _discovery(path):
            return 200, found
        *_, last = words = path.split("/")
        if last == "log":
            return 200, "".join(self._log(words[-2], query))
        kind = last if last in _KINDS else words[-2]
        if kind in self.forbidden:
            return 403, _status(403, "Forbidden", f"{kind} is forbidden: User cannot get it")
        if last in _KINDS:
            version = _ARGO if last == "workflows" else "v1"
            items = self._listed(last, query.get("labelSelector", [""])[0])
            return 200, {"kind": f"{_KINDS[last]}List", "apiVersion": version, "items": items}
        for found in self._listed(kind, ""):
            if found["metadata"]["name"] == last:
                return 200, found
        return 404, _status(404, "NotFound", f'{kind} "{last}" not found')

    def _listed(self, kind: str, selector: str) -> list[dict[str, Any]]:
        found = [self._thing(kind, name) for name in self.names.get(kind, [])]
        if kind == "pods":
            found = [self._thing(kind, f"pod-{step}") for step in self.logs]
        found += self.items.get(kind, [])
        return [each for each in found if _is_selected(each["metadata"]["labels"], selector)]

    def _thing(self, kind: str, name: str) -> dict[str, Any]:
        return {
            "kind": _KINDS[kind],
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": self.namespace, "labels": self._labels(name)},
            "spec": {"containers": [{"name": "main"}]},
            "status": self.ends.get(name.removeprefix("pod-"), {"phase": "Failed"}),
        }

    def _labels(self, name: str) -> dict[str, str]:
        if name.startswith("pod-"):
            return {"pipeline/runid": RUN, "pipeline-step": name.removeprefix("pod-")}
        return dict([self.labels.split("=")])

    def _log(self, pod: str, query: dict[str, list[str]]) -> list[str]:
        lines = self.logs[pod.removeprefix("pod-")].splitlines(keepends=True)
        return lines[-int(query["tailLines"][0]) :]


def _is_selected(labels: dict[str, str], selector: str) -> bool:
    words = [word.partition("=") for word in selector.split(",") if word]
    return all(
        labels.get(key, "") == value if sign else key in labels for key, sign, value in words
    )


def _discovery(path: str) -> dict[str, Any]:
    """What the API server has, in the answers that kubectl asks for first; empty = no such path."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = {"groupVersion": _ARGO, "version": "v1alpha1"}
        group = {"name": "argoproj.io", "versions": [version], "preferredVersion": version}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
    if path not in ("/api/v1", f"/apis/{_ARGO}"):
        return {}
    group_version = "v1" if path == "/api/v1" else _ARGO
    names = [name for name in _KINDS if (name == "workflows") == (group_version == _ARGO)]
    found = [
        {
            "name": name,
            "kind": _KINDS[name],
            "namespaced": not name.startswith("n"),
            "verbs": ["get", "list"],
        }
        for name in names
    ]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": found}


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    head = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return {**head, "code": code, "reason": reason, "message": message}


@contextmanager
def serve() -> Iterator[Cluster]:
    """The cluster, until the block ends."""
    cluster = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            place = urlsplit(self.path)
            status, found = cluster.answer(place.path, parse_qs(place.query))
            is_text = isinstance(found, str)
            content = found.encode() if is_text else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
