"""Overlay `local` on the cluster, by the steps of infra/README.md; and everything gone again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.kubernetes import RUNS, SERVICES, get, kubectl
from tests.components.conftest import ROOT

# Names of kustomize/components/images -> variable with NAME@sha256:DIGEST on the cluster's nodes.
IMAGES = {
    "pipeline": "CLUSTER_IMAGE",
    "pipeline-cuda": "CLUSTER_IMAGE",
    "postgres": "CLUSTER_POSTGRES",
    "seaweedfs": "CLUSTER_SEAWEEDFS",
}
# Where Argo's controller and its settings are.
ARGO, ARGO_MAP = "kubeflow", "workflow-controller-configmap"

_SCRIPTS = ROOT / "infra/scripts"


@dataclass(frozen=True)
class Installation:
    """What a person has after steps 1 to 4.

    Attributes:
        manifests: a copy of infra/kustomize with this cluster's images in it.
        secrets: folder of make_secrets.sh.
        argo: what Argo's map held before.
    """

    manifests: Path
    secrets: Path
    argo: dict[str, str]

    def secret(self, namespace: str, name: str, key: str) -> str:
        """The value of a secret."""
        return (self.secrets / namespace / name / key).read_text()

    def make_standing_volume(self) -> str:
        """The claim of README, step 5, for several workers; returns its name."""
        manifest = self.manifests / "workspace/workspace.yaml"
        text = manifest.read_text()
        for before, after in (("[ReadWriteOnce]", "[ReadWriteMany]"), ("200Gi", "4Gi")):
            assert text.count(before) == 1
            text = text.replace(before, after)
        manifest.write_text(text)
        kubectl("apply", "-k", self.overlay("workspace"))
        job = "job/workspace-owner"
        kubectl("-n", RUNS, "wait", "--for=condition=complete", job, "--timeout=5m")
        return "workspace"

    def overlay(self, name: str = "overlays/local") -> str:
        """The folder of an overlay."""
        return str(self.manifests / name)


def prepare(folder: Path) -> Installation:
    """The manifests with this cluster's images; nothing is applied yet."""
    (argo,) = get("configmap", ARGO_MAP, "-n", ARGO)
    found = Installation(folder / "kustomize", folder / "secrets", argo["data"])
    shutil.copytree(ROOT / "infra/kustomize", found.manifests)
    _name_images(found.manifests / "components/images/kustomization.yaml")
    return found


def install(found: Installation) -> None:
    """Apply everything, and wait until MLflow serves."""
    kubectl("apply", "-f", str(found.manifests / "base/namespaces.yaml"))
    subprocess.run(
        ["sh", str(_SCRIPTS / "make_secrets.sh"), str(found.secrets), "create"],
        check=True, capture_output=True,
    )  # fmt: skip
    kubectl("apply", "-k", found.overlay())
    for job in ("mlflow-migrate", "mlflow-bootstrap"):
        kubectl("-n", SERVICES, "wait", "--for=condition=complete", f"job/{job}", "--timeout=10m")
    kubectl("-n", SERVICES, "rollout", "status", "deployment/mlflow", "--timeout=10m")
    subprocess.run(["sh", str(_SCRIPTS / "argo_defaults.sh"), "apply", ARGO], check=True)


def remove(found: Installation) -> None:
    """Delete the services with their data, and what the runs' namespace got from us.

    That namespace itself may be Kubeflow's, and stays.
    """
    listed = yaml.safe_load_all(kubectl("kustomize", found.overlay()))
    objects = [each for each in listed if each and each["kind"] != "Namespace"]
    kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(objects))
    names = [path.name for path in found.secrets.glob(f"{RUNS}/*")]
    kubectl("-n", RUNS, "delete", "secret", "--ignore-not-found", *names)
    kubectl("delete", "--ignore-not-found", "-k", found.overlay("workspace"))
    patch = json.dumps({"data": found.argo})
    kubectl("-n", ARGO, "patch", "configmap", ARGO_MAP, "--type=merge", "-p", patch)
    kubectl("delete", "namespace", SERVICES, "--ignore-not-found")
    assert get("namespace", SERVICES) == []


def _name_images(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    for image in document["images"]:
        image["newName"], _, image["digest"] = os.environ[IMAGES[image["name"]]].partition("@")
    path.write_text(yaml.safe_dump(document))
