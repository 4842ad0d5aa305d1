"""The few paths of a Kubernetes API server that kubectl asks, on a port of loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.pipeline.kfp_server import RUN

RUNS = "image-classification-runs"
ARGO_MAP = "workflow-controller-configmap"
ARGO_DEFAULTS = Path(__file__).parents[2] / "infra/argo-defaults.yaml"

_KINDS = {
    "configmaps": "ConfigMap",
    "deployments": "Deployment",
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
_VERSIONS = {"deployments": "apps/v1", "workflows": "argoproj.io/v1alpha1"}

_OF_ARGO = ("configmaps", "deployments")


class Cluster:
    """What is there.

    Attributes:
        names: plural of a kind -> names.
        argo: data of Argo's map, which is named workflow-controller-configmap.
        argo_namespace: where the map and Argo's controller are.
        logs: step -> its log.
        ends: step -> status of its pod; of a failed one if nothing is said.
        items: plural of a kind -> what is listed besides, as the API shows it.
        labels: of all nodes.
        namespace: of what is there.
        expired: whether it does not know the user any more.
        forbidden: plurals of kinds that the user may not see.
        asked: paths with their queries.
        patched: paths and bodies of PATCH.
        kubelet: what becomes of a new pod: its status and its log.
        refused: message with which nothing more is made; empty = all is made.
        deleted: names.
    """

    def __init__(self) -> None:
        self.names = {
            "configmaps": [ARGO_MAP],
            "deployments": ["workflow-controller"],
            "namespaces": [RUNS],
            "nodes": ["gpu-1", "gpu-2"],
            "persistentvolumeclaims": [],
            "secrets": [
                "mlflow-trainer",
                "mlflow-promoter",
                "s3-dvc",
                "postgres-optuna",
                "internal-ca",
            ],
            "serviceaccounts": ["pipeline-run"],
        }
        wanted = yaml.safe_load(ARGO_DEFAULTS.read_text())["workflowDefaults"]
        self.argo = {"executor": "imagePullPolicy: Always", "workflowDefaults": yaml.dump(wanted)}
        self.argo_namespace = "kubeflow"
        self.logs: dict[str, str] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.labels = "nvidia.com/gpu.present=true"
        self.namespace = RUNS
        self.expired = False
        self.forbidden: set[str] = set()
        self.asked: list[str] = []
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.kubelet: Callable[[dict[str, Any]], tuple[dict[str, Any], str]] = _nothing
        self.refused = ""
        self.deleted: list[str] = []
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
        if path in _DISCOVERY:
            return 200, _DISCOVERY[path]
        *_, last = words = re.sub("^/(api|apis/[a-z.]+)/v1(alpha1)?/", "", path).split("/")
        if last == "log":
            return 200, "".join(self._log(words[-2], query))
        kind = last if last in _KINDS else words[-2]
        if kind in self.forbidden:
            return 403, _status(403, "Forbidden", f"{kind} is forbidden: User cannot get it")
        if last in _KINDS:
            found = self._listed(last, query.get("labelSelector", [""])[0])
            version = _VERSIONS.get(last, "v1")
            return 200, {"kind": f"{_KINDS[last]}List", "apiVersion": version, "items": found}
        elsewhere = "namespaces" in words and self.argo_namespace not in words
        for each in self._listed(kind, ""):
            if each["metadata"]["name"] == last and not (kind in _OF_ARGO and elsewhere):
                return 200, each
        return 404, _status(404, "NotFound", f'{kind} "{last}" not found')

    def _listed(self, kind: str, selector: str) -> list[dict[str, Any]]:
        found = [self._thing(kind, name) for name in self.names.get(kind, [])]
        if kind == "pods":
            made = {each["metadata"]["name"] for each in self.items.get(kind, [])}
            found = [self._thing(kind, f"pod-{step}") for step in self.logs if step not in made]
        found += self.items.get(kind, [])
        return [each for each in found if _is_selected(each["metadata"]["labels"], selector)]

    def _thing(self, kind: str, name: str) -> dict[str, Any]:
        namespace = self.argo_namespace if kind in _OF_ARGO else self.namespace
        content: dict[str, Any] = {
            "spec": {"containers": [{"name": "main"}]},
            "status": self.ends.get(name.removeprefix("pod-"), {"phase": "Failed"}),
        }
        if kind == "configmaps":
            content = {"data": self.argo}
        if kind == "deployments":
            content = {"spec": {"template": {"metadata": {}, "spec": {"containers": []}}}}
        return {
            "kind": _KINDS[kind],
            "apiVersion": _VERSIONS.get(kind, "v1"),
            "metadata": {"name": name, "namespace": namespace, "labels": self._labels(name)},
            **content,
        }

    def patch(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON; what a patch says of data is merged into Argo's map."""
        self.patched.append((path, body))
        self.argo.update(body.get("data", {}))
        return self.answer(path, {})

    def create(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON; a pod ends at once, as the kubelet says."""
        if self.refused:
            return 403, _status(403, "Forbidden", self.refused)
        kind = path.rpartition("/")[2]
        body["metadata"]["uid"] = f"uid-{body['metadata']['name']}"
        if kind == "pods":
            body["status"], log = self.kubelet(body)
            self.logs[body["metadata"]["name"]] = log
        self.items.setdefault(kind, []).append(body)
        return 201, body

    def delete(self, path: str) -> tuple[int, Any]:
        """Status and JSON."""
        *_, kind, name = path.split("/")
        left = [each for each in self.items.get(kind, []) if each["metadata"]["name"] != name]
        self.items[kind] = left
        self.deleted.append(name)
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _labels(self, name: str) -> dict[str, str]:
        if name.startswith("pod-"):
            return {"pipeline/runid": RUN, "pipeline-step": name.removeprefix("pod-")}
        return dict([self.labels.split("=")])

    def _log(self, pod: str, query: dict[str, list[str]]) -> list[str]:
        lines = self.logs[pod.removeprefix("pod-")].splitlines(keepends=True)
        return lines[-int(query.get("tailLines", ["0"])[0]) :]


def _nothing(pod: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Status and log of a pod that did what it should and said nothing."""
    assert pod["spec"]["containers"]
    return {"phase": "Succeeded"}, ""


def _is_selected(labels: dict[str, str], selector: str) -> bool:
    words = [word.partition("=") for word in selector.split(",") if word]
    return all(
        labels.get(key, "") == value if sign else key in labels for key, sign, value in words
    )


def _resources(version: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": _KINDS[name],
            "namespaced": not name.startswith("n"),
            "verbs": ["create", "delete", "get", "list", "patch"],
        }
        for name in _KINDS
        if _VERSIONS.get(name, "v1") == version
    ]


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    head = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return {**head, "code": code, "reason": reason, "message": message}


def _list(version: str) -> dict[str, Any]:
    resources = _resources(version)
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


def _group(version: str) -> dict[str, Any]:
    name, _, short = version.partition("/")
    versions = {"groupVersion": version, "version": short}
    return {"name": name, "versions": [versions], "preferredVersion": versions}


_DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": _list("v1"),
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(version) for version in _VERSIONS.values()],
    },
    **{f"/apis/{version}": _list(version) for version in _VERSIONS.values()},
}


@contextmanager
def serve() -> Iterator[Cluster]:
    """The cluster, until the block ends."""
    cluster = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            place = urlsplit(self.path)
            self._send(*cluster.answer(place.path, parse_qs(place.query)))

        def do_PATCH(self) -> None:
            self._send(*cluster.patch(urlsplit(self.path).path, self._body()))

        def do_POST(self) -> None:
            self._send(*cluster.create(urlsplit(self.path).path, self._body()))

        def do_DELETE(self) -> None:
            self._body()
            self._send(*cluster.delete(urlsplit(self.path).path))

        def _body(self) -> dict[str, Any]:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found: dict[str, Any] = json.loads(text or b"{}")
            return found

        def _send(self, status: int, found: Any) -> None:
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
