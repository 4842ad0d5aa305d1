"""Rules that every overlay must keep. A rule takes the objects and says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.infra.manifests import RUNS, SERVICES, Object, Pod, find, name_of, of_kind, pods

Rule = Callable[[list[Object]], list[str]]

POD_SECURITY_VERSION = "v1.34"
VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}
GPU = "nvidia.com/gpu"
# The only account with a token: Argo's executor and Kubeflow's launcher speak to the API.
WITH_TOKEN = {"pipeline-run"}


def each_container(objects: list[Object], look: Callable[[Pod, Object], list[str]]) -> list[str]:
    return [
        f"{name_of(pod.owner)} {container['name']}: {fault}"
        for pod in pods(objects)
        for container in pod.containers
        for fault in look(pod, container)
    ]


def _each_pod(objects: list[Object], look: Callable[[Pod], list[str]]) -> list[str]:
    return [f"{name_of(pod.owner)}: {fault}" for pod in pods(objects) for fault in look(pod)]


def containers_are_restricted(objects: list[Object]) -> list[str]:
    def look(_: Pod, container: Object) -> list[str]:
        found = container.get("securityContext", {})
        expected = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        faults = [
            f"{key} is not {value}" for key, value in expected.items() if found.get(key) != value
        ]
        extra = set(found) - set(expected)
        return faults + [f"{key} is set" for key in extra]

    return each_container(objects, look)


def pods_are_restricted(objects: list[Object]) -> list[str]:
    def look(pod: Pod) -> list[str]:
        security = pod.spec.get("securityContext", {})
        user = security.get("runAsUser")
        faults = []
        if security.get("runAsNonRoot") is not True:
            faults.append("runAsNonRoot is not true")
        if not isinstance(user, int) or user < 1:
            faults.append("runAsUser is no number above 0")
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            faults.append("seccompProfile is not RuntimeDefault")
        faults += [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(key)]
        kinds = {kind for volume in pod.volumes for kind in volume if kind != "name"}
        return faults + [f"volume kind {kind}" for kind in kinds - VOLUMES]

    return _each_pod(objects, look)


def no_host_ports_or_probe_hosts(objects: list[Object]) -> list[str]:
    def look(_: Pod, container: Object) -> list[str]:
        faults = ["hostPort" for port in container.get("ports", []) if "hostPort" in port]
        return faults + [
            f"{probe} names a host"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
            for way in ("httpGet", "tcpSocket")
            if "host" in container.get(probe, {}).get(way, {})
        ]

    return each_container(objects, look)


def tokens_stay_out(objects: list[Object]) -> list[str]:
    def look(pod: Pod) -> list[str]:
        expected = ("automountServiceAccountToken", "enableServiceLinks")
        faults = [f"{key} is not false" for key in expected if pod.spec.get(key) is not False]
        return faults + (["default account"] if not pod.spec.get("serviceAccountName") else [])

    accounts = [
        f"{name_of(account)}: hands out a token"
        for account in of_kind(objects, "ServiceAccount")
        if account.get("automountServiceAccountToken") is not False
        and account["metadata"]["name"] not in WITH_TOKEN
    ]
    return _each_pod(objects, look) + accounts


def images_come_by_digest(objects: list[Object]) -> list[str]:
    pattern = re.compile(r"[a-z0-9./-]+@sha256:[0-9a-f]{64}")
    return each_container(
        objects, lambda _, each: [] if pattern.fullmatch(each["image"]) else [each["image"]]
    )


def resources_are_bounded(objects: list[Object]) -> list[str]:
    def look(_: Pod, container: Object) -> list[str]:
        resources = container.get("resources", {})
        return [
            f"no {side} of {what}"
            for side in ("requests", "limits")
            for what in ("cpu", "memory")
            if what not in resources.get(side, {})
        ]

    return each_container(objects, look)


def scratch_space_is_bounded(objects: list[Object]) -> list[str]:
    def look(pod: Pod) -> list[str]:
        scratch = [volume for volume in pod.volumes if "emptyDir" in volume]
        return [
            f"{each['name']} has no sizeLimit"
            for each in scratch
            if "sizeLimit" not in each["emptyDir"]
        ]

    return _each_pod(objects, look)


def servers_are_probed(objects: list[Object]) -> list[str]:
    asked = {"exec": {"command": ["python", "/scripts/start.py", "ready"]}}
    blind = [
        f"{name_of(thing)}: its readiness does not ask the database"
        for thing in of_kind(objects, "Deployment")
        for container in thing["spec"]["template"]["spec"]["containers"]
        if name_of(thing) == "Deployment/mlflow"
        and not asked.items() <= container.get("readinessProbe", {}).items()
    ]
    return blind + [
        f"{name_of(thing)}: no {probe}"
        for thing in of_kind(objects, "Deployment", "StatefulSet")
        for container in thing["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if probe not in container
    ]


def replicas_have_a_disruption_budget(objects: list[Object]) -> list[str]:
    budgets = [
        budget["spec"]["selector"]
        for budget in of_kind(objects, "PodDisruptionBudget")
        if budget["spec"].get("minAvailable", 0) >= 1
    ]
    return [
        f"{name_of(thing)}: no disruption budget"
        for thing in of_kind(objects, "Deployment", "StatefulSet")
        if thing["spec"].get("replicas", 1) > 1 and thing["spec"]["selector"] not in budgets
    ]


def jobs_end(objects: list[Object]) -> list[str]:
    jobs = [(name_of(job), job["spec"]) for job in of_kind(objects, "Job")]
    crons = of_kind(objects, "CronJob")
    jobs += [(name_of(cron), cron["spec"]["jobTemplate"]["spec"]) for cron in crons]
    expected = ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    faults = [f"{name}: no {key}" for name, spec in jobs for key in expected if key not in spec]
    for cron in crons:
        if cron["spec"].get("concurrencyPolicy") != "Forbid":
            faults.append(f"{name_of(cron)}: may run twice at once")
        if cron["spec"].get("timeZone") != "Etc/UTC":
            faults.append(f"{name_of(cron)}: the time zone is the cluster's")
    return faults


def backups_run_and_are_tried(objects: list[Object]) -> list[str]:
    if not of_kind(objects, "StatefulSet"):
        return []
    crons = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "CronJob")}
    expected = ("postgres-backup", "restore-drill")
    return [f"no {name}" for name in expected if crons.get(name, {"suspend": True}).get("suspend")]


def namespaces_pin_pod_security(objects: list[Object]) -> list[str]:
    faults = []
    for namespace in of_kind(objects, "Namespace"):
        labels = namespace["metadata"].get("labels", {})
        for mode in ("enforce", "audit", "warn"):
            key = f"pod-security.kubernetes.io/{mode}"
            if labels.get(key) != "restricted":
                faults.append(f"{name_of(namespace)}: {mode} is not restricted")
            if labels.get(f"{key}-version") != POD_SECURITY_VERSION:
                faults.append(f"{name_of(namespace)}: {mode} is not {POD_SECURITY_VERSION}")
    return faults


def namespaces_are_bounded(objects: list[Object]) -> list[str]:
    return [
        f"{name_of(namespace)}: no {kind}"
        for namespace in of_kind(objects, "Namespace")
        for kind in ("ResourceQuota", "LimitRange")
        if namespace["metadata"]["name"]
        not in [thing["metadata"]["namespace"] for thing in of_kind(objects, kind)]
    ]


def services_stay_inside(objects: list[Object]) -> list[str]:
    return [
        f"{name_of(service)}: type {service['spec']['type']}"
        for service in of_kind(objects, "Service")
        if service["spec"].get("type", "ClusterIP") != "ClusterIP"
    ]


def names_and_ports_are_possible(objects: list[Object]) -> list[str]:
    """What the schemas let pass."""
    label = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
    faults = [
        f"{name_of(thing)}: impossible name"
        for thing in objects
        if not label.fullmatch(thing["metadata"]["name"])
    ]
    numbers = [
        (name_of(pod.owner), number) for pod in pods(objects) for number in pod.port_numbers()
    ]
    for service in of_kind(objects, "Service"):
        numbers += [(name_of(service), port["port"]) for port in service["spec"]["ports"]]
    for policy in of_kind(objects, "NetworkPolicy"):
        for flow in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            numbers += [(name_of(policy), port["port"]) for port in flow["ports"]]
    return faults + [f"{name}: port {port}" for name, port in numbers if not 0 < port < 65536]


def gpu_pods_are_complete(objects: list[Object]) -> list[str]:
    def look(pod: Pod) -> list[str]:
        sides = ("requests", "limits")
        asked = [
            [each.get("resources", {}).get(s, {}).get(GPU) for s in sides]
            for each in pod.containers
        ]
        tolerations = [each.get("key") for each in pod.spec.get("tolerations", [])]
        if not any(one or other for one, other in asked):
            return ["tolerates a GPU's taint without a GPU"] if GPU in tolerations else []
        faults = [] if all(one == other for one, other in asked) else ["request is not the limit"]
        faults += [] if GPU in tolerations else ["no toleration"]
        faults += [] if pod.spec.get("nodeSelector") else ["no node selector"]
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        faults += [] if grace >= 120 else ["too little time to write a checkpoint"]
        memory = {
            each["name"]
            for each in pod.volumes
            if each.get("emptyDir", {}).get("medium") == "Memory"
        }
        mounts = [mount for each in pod.containers for mount in each.get("volumeMounts", [])]
        shared = [
            each for each in mounts if each["mountPath"] == "/dev/shm" and each["name"] in memory
        ]
        return faults + ([] if shared else ["no shared memory at /dev/shm"])

    return _each_pod(objects, look)


def default_is_deny(objects: list[Object]) -> list[str]:
    closed = {
        policy["metadata"]["namespace"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["spec"].get("podSelector") == {}
        and set(policy["spec"].get("policyTypes", [])) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    }
    spaces = {SERVICES, RUNS} if of_kind(objects, "Namespace") else set()
    return [f"{space}: no default deny" for space in sorted(spaces - closed)]


def find_setting(objects: list[Object], config: str, key: str) -> str:
    return str(find(objects, f"ConfigMap/{config}")["data"].get(key, ""))


RULES: tuple[Rule, ...] = (
    containers_are_restricted,
    pods_are_restricted,
    no_host_ports_or_probe_hosts,
    tokens_stay_out,
    images_come_by_digest,
    resources_are_bounded,
    scratch_space_is_bounded,
    servers_are_probed,
    replicas_have_a_disruption_budget,
    jobs_end,
    backups_run_and_are_tried,
    namespaces_pin_pod_security,
    namespaces_are_bounded,
    services_stay_inside,
    names_and_ports_are_possible,
    gpu_pods_are_complete,
    default_is_deny,
)
