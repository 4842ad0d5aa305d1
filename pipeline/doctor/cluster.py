"""Checks of what a run on the cluster needs. They change nothing, and read no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.core.errors import InvalidParams, MissingInput, PipelineError, ServiceUnavailable
from components.core.phrases import short_digest
from components.io import params
from pipeline import SETTINGS
from pipeline.doctor import argo, tracking
from pipeline.doctor.check import Check, CheckResult, at_least
from pipeline.kubeflow import git_state, kubectl, preflight, remote_images, resources

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

# The backend on which a whole run was tried, and the one that mends what was published of it.
TESTED_VERSION, MENDED_VERSION = "2.17.0", "2.18.1"

_SECONDS = 9

_ARGO_DEFAULTS = "sh infra/scripts/argo_defaults.sh"


def checks(endpoint: str | None) -> dict[str, Check]:
    """Name -> check, in the order of the table.

    Args:
        endpoint: of Kubeflow Pipelines; None = as the environment says.
    """
    return {
        "pushed": pushed,
        "data pushed": data_pushed,
        "kubeflow": lambda: kubeflow(endpoint),
        "schedules": lambda: recurring(endpoint),
        "its mlflow": cluster_mlflow,
        "kubectl": context,
        "namespace": namespace,
        "secrets": secrets,
        "volume": volume,
        "retries": retries,
        "gpus": gpus,
    }


def pushed() -> CheckResult:
    """Whether the cluster can fetch this very commit."""
    git_state.require_root()
    revision, repository = git_state.head(), git_state.origin()
    git_state.require_pushed(repository, revision)
    return CheckResult("pass", f"{short_digest(revision)} is at {repository}")


def data_pushed() -> CheckResult:
    """Whether the images are where the cluster pulls them from."""
    url, data_hash = git_state.data_remote(), git_state.require_data()
    try:
        remote_images.require(data_hash, _SECONDS)
    except TimeoutError as error:
        return CheckResult("skipped", str(error), "`submit` asks again, and waits longer")
    except ServiceUnavailable as error:
        return CheckResult("fail", str(error), "check its address and your keys", service=True)
    return CheckResult("pass", f"all of {short_digest(data_hash)} is at {url}")


def kubeflow(endpoint: str | None) -> CheckResult:
    """Whether Kubeflow Pipelines answers, in a version that was tried; what it lacks is named."""
    try:
        from pipeline.kubeflow.client import Server
    except ImportError as error:
        return CheckResult("skipped", str(error), "make install, or install the extra `kubeflow`")
    try:
        server = Server(endpoint)
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    found = f"{server.endpoint}, version {server.version or 'unknown'}"
    if not at_least(server.version, TESTED_VERSION):
        hint = f"older than what was tried ({TESTED_VERSION}); try it with a small run, or upgrade"
        return CheckResult("warn", found, hint)
    if not at_least(server.version, MENDED_VERSION):
        found += f", without the mended advisories of {MENDED_VERSION} (SECURITY.md)"
    if server.namespace != kubectl.NAMESPACE:
        hint = f"what {kubectl.NAMESPACE} has must be there: account, secrets, policies"
        found += f", for one user: runs are in {_of_one_user(server)}"
        return CheckResult("warn", found, hint)
    return CheckResult("pass", f"{found}, runs in {server.namespace}")


def _of_one_user(server: Server) -> str:
    """Where it keeps its runs, in words."""
    try:
        return preflight.find_namespace(server) or "its own namespace"
    except PipelineError:  # the row of kubectl says why nobody could look
        return "its own namespace"


def recurring(endpoint: str | None) -> CheckResult:
    """Which branches Kubeflow runs by itself."""
    try:
        from pipeline.kubeflow import schedules
        from pipeline.kubeflow.client import Server
    except ImportError as error:
        return CheckResult("skipped", str(error), "make install, or install the extra `kubeflow`")
    found = schedules.read(Server(endpoint))
    lines = [f"{each.model}: {each.branch} at {each.every!r}" for each in found]
    if off := [line for line, each in zip(lines, found, strict=True) if not each.enabled]:
        hint = "switched off on its page; `submit --branch NAME --every CRON` makes it anew"
        return CheckResult("warn", "; ".join(off), hint)
    return CheckResult("pass", "; ".join(lines) or "no branch is run by itself")


def cluster_mlflow() -> CheckResult:
    """Whether the MLflow server of section `cluster` answers, where it can be reached from here."""
    uri = _cluster_params().tracking_uri
    host = urlsplit(uri).hostname or ""
    if host.endswith((".svc", ".svc.cluster.local")):
        hint = "kubectl -n image-classification port-forward service/mlflow 5000, then open it"
        return CheckResult("skipped", f"{uri}: a name that only the cluster resolves", hint)
    return tracking.check_version(uri)


def context() -> CheckResult:
    """Which cluster kubectl uses."""
    try:
        return CheckResult("pass", f"context {kubectl.context()}")
    except MissingInput as error:
        return CheckResult("warn", f"{error} Without it, logs of failed steps are not shown.")


def namespace() -> CheckResult:
    """Whether the namespace and the account of runs are there."""
    missing = _missing([f"serviceaccount/{kubectl.ACCOUNT}"])
    if missing:
        hint = "kubectl apply -k infra/kustomize/overlays/..."
        return CheckResult("fail", f"{kubectl.NAMESPACE}: lacks {', '.join(missing)}", hint)
    return CheckResult("pass", f"{kubectl.NAMESPACE} with the account {kubectl.ACCOUNT}")


def secrets() -> CheckResult:
    """Whether the secrets that params.yaml names exist; their content is not read."""
    names = sorted(
        str(value) for name, value in _cluster_params() if name.endswith("_secret") and value
    )
    missing = _missing([f"secret/{name}" for name in names])
    if missing:
        hint = "sh infra/scripts/make_secrets.sh FOLDER create"
        return CheckResult("fail", f"{kubectl.NAMESPACE}: lacks {', '.join(missing)}", hint)
    return CheckResult("pass", f"{kubectl.NAMESPACE}: {', '.join(names)}")


def volume() -> CheckResult:
    """Whether pods can write to their volume: a standing one, or one that Argo gives a group."""
    settings = _cluster_params()
    if claim := settings.workspace_claim:
        if _missing([f"persistentvolumeclaim/{claim}"]):
            hint = "kubectl apply -k infra/kustomize/workspace, or correct cluster.workspace_claim"
            return CheckResult("fail", f"{kubectl.NAMESPACE}: lacks the claim {claim}", hint)
        return CheckResult("pass", f"the standing claim {claim}")
    if argo.gives_group(argo.read_defaults(_kubectl), settings.user):
        return CheckResult("pass", f"one for each run, with the fsGroup {settings.user} from Argo")
    found = f"Argo gives pods no fsGroup {settings.user}: a volume of root can't be written"
    return CheckResult("warn", found, f"{_ARGO_DEFAULTS}, or cluster.workspace_claim")


def retries() -> CheckResult:
    """Whether `cluster.retries` also means containers that were killed, and lost pods."""
    if not (number := _cluster_params().retries):
        return CheckResult("pass", "cluster.retries is 0")
    if fault := argo.retry_fault(argo.read_defaults(_kubectl)):
        return CheckResult("warn", f"Argo retries {fault}", _ARGO_DEFAULTS)
    return CheckResult("pass", f"{number} of every step that fails, is killed or is lost")


def gpus() -> CheckResult:
    """Whether there are nodes with the label of GPUs, if a step asks for one."""
    settings = _cluster_params()
    if not any(task.gpus for _, task in settings if isinstance(task, resources.GpuTask)):
        return CheckResult("pass", "no step asks for a GPU")
    labels = ",".join(f"{name}={value}" for name, value in settings.gpu.node_selector.items())
    nodes = _kubectl("get", "nodes", "-o", "name", *(["-l", labels] if labels else []))
    if not nodes.split():
        hint = "wait if nodes come on demand; else label them, or correct cluster.gpu.node_selector"
        return CheckResult("warn", f"no node with {labels}", hint)
    return CheckResult("pass", f"{len(nodes.split())} nodes with {labels or 'any label'}")


def _cluster_params() -> resources.ClusterParams:
    return params.load(SETTINGS, resources.Params).cluster


def _missing(names: list[str]) -> list[str]:
    """Which of them the namespace of runs lacks."""
    words = ("-n", kubectl.NAMESPACE, "get", *names, "--ignore-not-found", "-o", "name")
    found = set(_kubectl(*words).split())
    return [name for name in names if name not in found]


def _kubectl(*words: str) -> str:
    """What kubectl prints; what it may not read is no failure of the cluster."""
    kubectl.context()
    try:
        return kubectl.run(*words)
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        raise MissingInput(f"not allowed to look: {error}") from error
