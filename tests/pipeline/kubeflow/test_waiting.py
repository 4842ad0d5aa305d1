"""What pods wait for, read as a cluster writes it."""

from typing import Any

import pytest

from pipeline.kubeflow.waiting import Waiting, WaitingMonitor, reasons, refused
from tests.pipeline.kfp_server import RUN
from tests.pipeline.kube_server import RUNS, Cluster

UNSCHEDULABLE = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
NODE = "image-classification-x7x9l.root"


def pod(step: str, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    labels = {"pipeline/runid": RUN, "pipeline-step": step}
    metadata = {"name": f"{step}-1", "namespace": RUNS, "uid": f"uid-{step}", "labels": labels}
    claim = {"name": "w", "persistentVolumeClaim": {"claimName": "workspace"}}
    spec = {"volumes": [{"name": "tmp", "emptyDir": {}}, claim]}
    head = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}
    return {**head, "spec": spec, "status": {"phase": phase, **status}}


def unscheduled(step: str, message: str = UNSCHEDULABLE) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return pod(step, conditions=[{**condition, "message": message}])


def held(step: str, reason: str, message: str = "") -> dict[str, Any]:
    """A pod with a node, whose sidecar has started and whose main container waits."""
    waiting = {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}
    sidecar = {"name": "wait", "state": {"running": {"startedAt": "2026-11-22T10:00:05Z"}}}
    condition = {"type": "PodScheduled", "status": "True"}
    return pod(step, conditions=[condition], containerStatuses=[sidecar, waiting])


def event(
    uid: str, reason: str, message: str, *, second: int = 0, kind: str = "Warning", name: str = ""
) -> dict[str, Any]:
    return {
        "involvedObject": {"uid": uid, "name": name},
        "metadata": {"creationTimestamp": "2026-11-22T10:00:00Z", "labels": {}},
        "lastTimestamp": f"2026-11-22T10:00:{second:02}Z",
        "reason": reason,
        "message": message,
        "type": kind,
    }


def test_a_pod_without_a_node_waits_for_what_the_scheduler_says() -> None:
    assert reasons([unscheduled("train")], []) == [Waiting("train", "Unschedulable", UNSCHEDULABLE)]


def test_a_claim_that_stays_unbound_says_why() -> None:
    why = event("uid-claim", "ProvisioningFailed", "storageclass \"fast\" not found",
                name="workspace")  # fmt: skip
    other = event("uid-other", "ProvisioningFailed", "of another run", name="other")
    assert reasons([unscheduled("fetch", UNBOUND)], [other, why]) == [
        Waiting("fetch", "Unschedulable", f'{UNBOUND}; workspace: storageclass "fast" not found')
    ]
    assert reasons([unscheduled("fetch")], [why])[0].message == UNSCHEDULABLE


def test_a_container_that_cannot_be_made_waits_for_what_the_kubelet_says() -> None:
    found = held("tune", "CreateContainerConfigError", 'secret "mlflow-trainer"\n not found')
    assert reasons([found], []) == [
        Waiting("tune", "CreateContainerConfigError", 'secret "mlflow-trainer" not found')
    ]


def test_a_pull_that_fails_and_the_pause_behind_it_are_one_reason() -> None:
    cause = "failed to pull and unpack image: not found"
    expected = [Waiting("fetch", "ErrImagePull", cause)]
    assert reasons([held("fetch", "ErrImagePull", cause)], []) == expected
    pause = 'Back-off pulling image "r/x@sha256:1"'
    newer = f"{pause}: ErrImagePull: {cause}"
    assert reasons([held("fetch", "ImagePullBackOff", newer)], []) == expected
    failed = event("uid-fetch", "Failed", f'Failed to pull image "r/x@sha256:1": {cause}')
    then = event("uid-fetch", "Failed", "Error: ErrImagePull", second=1)
    found = reasons([held("fetch", "ImagePullBackOff", pause)], [then, failed])
    assert found == [Waiting("fetch", "ErrImagePull", failed["message"])]
    assert reasons([held("fetch", "ImagePullBackOff", pause)], [])[0].message == pause


def test_a_volume_that_is_not_mounted_is_the_newest_warning_about_the_pod() -> None:
    events = [
        event("uid-tune", "FailedMount", 'secret "internal-ca" not found', second=9),
        event("uid-tune", "FailedAttachVolume", "older", second=5),
        event("uid-tune", "FailedScheduling", "before it had a node", second=30),
        event("uid-tune", "Pulling", "no warning", second=31, kind="Normal"),
        event("uid-other", "FailedMount", "of another pod", second=32),
    ]
    expected = [Waiting("tune", "FailedMount", 'secret "internal-ca" not found')]
    assert reasons([held("tune", "ContainerCreating")], events) == expected
    assert reasons([held("tune", "PodInitializing")], events) == expected


@pytest.mark.parametrize(
    "quiet",
    [
        held("tune", "ContainerCreating"),
        {**pod("tune"), "status": {}},
        pod("tune", "Running", conditions=unscheduled("tune")["status"]["conditions"]),
        pod("tune", "Succeeded"),
    ],
)
def test_a_pod_that_starts_runs_or_has_ended_waits_for_nothing(quiet: dict[str, Any]) -> None:
    assert reasons([quiet], []) == []


def test_workers_that_wait_for_the_same_are_one_reason() -> None:
    assert len(reasons([unscheduled("tune"), unscheduled("tune"), unscheduled("x")], [])) == 2


def test_a_pod_of_kubeflow_s_own_is_named_by_its_node_in_argo() -> None:
    driver = unscheduled("x")
    driver["metadata"]["labels"] = {}
    assert reasons([driver], [])[0].step == "x-1"
    driver["metadata"]["annotations"] = {"workflows.argoproj.io/node-name": f"{NODE}.tune-driver"}
    assert reasons([driver], [])[0].step == "tune-driver"


def test_a_pod_that_a_quota_refuses_is_read_from_the_workflow() -> None:
    message = 'pods "x-1" is forbidden: exceeded quota: runs, requested: limits.cpu=9'
    nodes = {
        "1": {"name": f"{NODE}.train.executor(0)", "phase": "Pending", "message": message},
        "2": {"name": f"{NODE}.tune(1)", "phase": "Pending", "message": "Unschedulable: x"},
        "3": {"name": f"{NODE}.fetch", "phase": "Error", "message": message},
        "4": {"name": f"{NODE}.fetch", "phase": "Pending"},
    }
    workflow = {"kind": "Workflow", "metadata": {}, "status": {"nodes": nodes}}
    assert refused([workflow, {"metadata": {}}]) == [Waiting("train", "Forbidden", message)]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch(kube: Cluster) -> tuple[WaitingMonitor, Clock, Cluster]:
    clock = Clock()
    return WaitingMonitor(RUN, lambda: RUNS, clock), clock, kube


Watch = tuple[WaitingMonitor, Clock, Cluster]


def test_a_reason_is_said_once_and_again_every_five_minutes(watch: Watch) -> None:
    monitor, clock, kube = watch
    line = f"          train          waits: Unschedulable: {UNSCHEDULABLE}"
    stranger = unscheduled("other")
    stranger["metadata"]["labels"]["pipeline/runid"] = "another"
    kube.items["pods"] = [unscheduled("train"), stranger]
    assert list(monitor.changes()) == [line]
    clock.seconds = 299
    kube.items["pods"] = [unscheduled("train", UNSCHEDULABLE.replace("2", "3"))]
    assert list(monitor.changes()) == []  # another number of nodes is no other reason
    clock.seconds = 300
    assert list(monitor.changes()) == [line.replace("2", "3")]
    kube.items["pods"] = [held("train", "FailedMount", "x")]
    assert list(monitor.changes()) == ["          train          waits: FailedMount: x"]


def test_events_and_workflows_are_read_through_kubectl(watch: Watch) -> None:
    monitor, _, kube = watch
    kube.items["pods"] = [held("tune", "ContainerCreating")]
    kube.items["events"] = [event("uid-tune", "FailedMount", "no such secret")]
    message = 'pods "y" is forbidden: exceeded quota: runs'
    node = {"name": f"{NODE}.train", "phase": "Pending", "message": message}
    metadata = {"name": "w", "namespace": RUNS, "labels": {"pipeline/runid": RUN}}
    kube.items["workflows"] = [{"metadata": metadata, "status": {"nodes": {"n": node}}}]
    assert list(monitor.changes()) == [
        "          tune           waits: FailedMount: no such secret",
        f"          train          waits: Forbidden: {message}",
    ]


def test_a_user_who_may_not_see_workflows_still_sees_pods(watch: Watch) -> None:
    monitor, _, kube = watch
    kube.items["pods"] = [unscheduled("train")]
    kube.forbidden.add("workflows")
    assert len(list(monitor.changes())) == 1


def test_where_kubectl_may_not_look_it_is_said_once(watch: Watch) -> None:
    monitor, clock, kube = watch
    kube.items["pods"] = [unscheduled("train")]
    kube.forbidden.add("pods")
    (line,) = monitor.changes()
    assert line.startswith("submit: why steps wait is not shown: kubectl -n image-classification-")
    assert "pods is forbidden: User cannot get it" in line
    clock.seconds = 400
    assert list(monitor.changes()) == []
    kube.forbidden.clear()
    assert list(monitor.changes()) == []  # asked again a minute later, not at each look
    clock.seconds = 460
    assert len(list(monitor.changes())) == 1


@pytest.mark.usefixtures("checkout")
def test_without_a_context_it_is_said_and_not_a_port_of_this_machine() -> None:
    (line,) = WaitingMonitor(RUN, lambda: RUNS).changes()
    assert line == (
        "submit: why steps wait is not shown: kubectl: has no context; "
        "`kubectl config use-context NAME`."
    )
