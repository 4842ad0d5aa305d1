"""Every name that one object gives another must lead to something."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.infra.manifests import Object, Pod, build, name_of, namespace_of, of_kind, pods, selects
from tests.infra.rules import Rule

# Labels that Kubeflow or the pipeline sets on its pods; no manifest of ours makes such pods.
RUN_PODS: tuple[dict[str, str], ...] = (
    {"pipelines.kubeflow.org/v2_component": "true"},
    {"pipeline-step": "tune"},
    {"pipeline-step": "fetch"},
)
# Objects that Kubeflow makes in the namespace of the runs.
KUBEFLOWS = {"kfp-launcher", "mlpipeline-minio-artifact"}


def _keys(objects: list[Object]) -> dict[tuple[str, str, str], set[str]]:
    """(kind, namespace, name) -> keys, of the overlay's ConfigMaps and the placeholder secrets."""
    return {
        (thing["kind"], namespace_of(thing), thing["metadata"]["name"]): set(
            thing.get("data", {}) | thing.get("stringData", {})
        )
        for thing in [*of_kind(objects, "ConfigMap"), *build("secrets")]
    }


def _sources(pod: Pod) -> Iterator[tuple[str, str]]:
    """Kind and name of each ConfigMap and Secret that a pod wants."""
    for volume in pod.volumes:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        elif "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]


def configs_and_secrets_are_there(objects: list[Object]) -> list[str]:
    known = _keys(objects)
    return [
        f"{name_of(pod.owner)}: no {kind} {name}"
        for pod in pods(objects)
        for kind, name in _sources(pod)
        if (kind, pod.namespace, name) not in known
    ]


def mounts_have_volumes_and_files(objects: list[Object]) -> list[str]:
    """A mount has its volume, every volume is mounted, a script on a command line is there."""
    known, faults = _keys(objects), []
    for pod in pods(objects):
        claims = pod.owner["spec"].get("volumeClaimTemplates", [])
        volumes = {volume["name"]: volume for volume in pod.volumes}
        names = set(volumes) | {claim["metadata"]["name"] for claim in claims}
        mounts = [mount for each in pod.containers for mount in each.get("volumeMounts", [])]
        mounted = {mount["name"] for mount in mounts}
        missing = [f"{name} is mounted or declared, not both" for name in sorted(names ^ mounted)]
        for container in pod.containers:
            there = _files(container, volumes, known, pod.namespace)
            words = " ".join([*container.get("command", []), *container.get("args", [])])
            paths = re.findall(r"/(?:scripts|checks|tls|secrets)/[\w./-]+\.\w+", words)
            paths += [m["mountPath"] for m in container.get("volumeMounts", []) if "subPath" in m]
            missing += [f"nothing at {path}" for path in paths if path not in there]
        faults += [f"{name_of(pod.owner)}: {each}" for each in missing]
    return faults


def _files(
    container: Object, volumes: Object, known: dict[tuple[str, str, str], set[str]], space: str
) -> set[str]:
    there = set()
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        config, secret = volume.get("configMap", {}), volume.get("secret", {})
        source = ("ConfigMap", space, config.get("name")) if config else (
            "Secret", space, secret.get("secretName"))  # fmt: skip
        keys = known.get(source, set())
        if "subPath" in mount:
            there |= {mount["mountPath"]} if mount["subPath"] in keys else set()
        else:
            there |= {f"{mount['mountPath']}/{key}" for key in keys}
    return there


def accounts_are_there(objects: list[Object]) -> list[str]:
    accounts = {
        (namespace_of(each), each["metadata"]["name"])
        for each in of_kind(objects, "ServiceAccount")
    }
    expected = [
        (name_of(p.owner), (p.namespace, p.spec["serviceAccountName"])) for p in pods(objects)
    ]
    expected += [
        (name_of(binding), (subject["namespace"], subject["name"]))
        for binding in of_kind(objects, "RoleBinding")
        for subject in binding["subjects"]
        if subject["kind"] == "ServiceAccount"
    ]
    return [f"{who}: no account {account}" for who, account in expected if account not in accounts]


def bindings_have_roles(objects: list[Object]) -> list[str]:
    roles = {(namespace_of(role), role["metadata"]["name"]) for role in of_kind(objects, "Role")}
    return [
        f"{name_of(binding)}: no role {binding['roleRef']['name']}"
        for binding in of_kind(objects, "RoleBinding")
        if (namespace_of(binding), binding["roleRef"]["name"]) not in roles
    ]


def selectors_find_pods(objects: list[Object]) -> list[str]:
    """Services, budgets and workloads select pods that exist; so do policies."""
    every = list(pods(objects))
    faults = []
    for thing in of_kind(objects, "Service", "PodDisruptionBudget", "Deployment", "StatefulSet"):
        selector = thing["spec"]["selector"]
        selector = {"matchLabels": selector} if thing["kind"] == "Service" else selector
        found = [pod for pod in every if pod.namespace == namespace_of(thing)
                 and selects(selector, pod.labels)]  # fmt: skip
        own = [pod for pod in found if pod.owner is thing]
        if not found or (thing["kind"] in ("Deployment", "StatefulSet") and not own):
            faults.append(f"{name_of(thing)}: selects no pod")
    for policy in of_kind(objects, "NetworkPolicy"):
        labels = [pod.labels for pod in every if pod.namespace == namespace_of(policy)] + list(
            RUN_PODS
        )
        if not any(selects(policy["spec"]["podSelector"], each) for each in labels):
            faults.append(f"{name_of(policy)}: selects no pod")
    return faults


def ports_are_there(objects: list[Object]) -> list[str]:
    """Probes and services name ports of containers; ingresses name ports of services."""
    faults = []
    for pod in pods(objects):
        for container in pod.containers:
            names = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port is not None and port not in names:
                    faults.append(f"{name_of(pod.owner)}: {probe} asks port {port}")
    services = {}
    for service in of_kind(objects, "Service"):
        targets = {
            port["name"]
            for pod in pods(objects)
            if pod.namespace == namespace_of(service)
            and selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
            for container in pod.spec["containers"]
            for port in container.get("ports", [])
        }
        for port in service["spec"]["ports"]:
            services[namespace_of(service), service["metadata"]["name"], port["name"]] = port[
                "port"
            ]
            if port["targetPort"] not in targets:
                faults.append(f"{name_of(service)}: no container port {port['targetPort']}")
    return faults + _ingress_faults(objects, services)


def _ingress_faults(objects: list[Object], services: dict[tuple[str, str, str], int]) -> list[str]:
    faults = []
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                key = (namespace_of(ingress), service["name"], service["port"]["name"])
                if key not in services:
                    faults.append(f"{name_of(ingress)}: no service {key}")
        known = _keys(objects)
        faults += [
            f"{name_of(ingress)}: no secret {tls['secretName']}"
            for tls in ingress["spec"].get("tls", [])
            if ("Secret", namespace_of(ingress), tls["secretName"]) not in known
        ]
    return faults


def addresses_are_services(objects: list[Object]) -> list[str]:
    """`name.namespace.svc[:port]` in a setting is a service that listens there."""
    ports = {
        f"{service['metadata']['name']}.{namespace_of(service)}.svc": {
            port["port"] for port in service["spec"]["ports"]
        }
        for service in of_kind(objects, "Service")
    }
    faults = []
    for config in of_kind(objects, "ConfigMap"):
        for key, value in config["data"].items():
            for host, port in re.findall(r"([\w-]+\.[\w-]+\.svc)(?:\.[\w.]+)?(?::(\d+))?", value):
                if host not in ports or (port and int(port) not in ports[host]):
                    faults.append(f"{name_of(config)}: {key} names {host} {port}")
    return faults


def names_in_rights_are_there(objects: list[Object]) -> list[str]:
    known = _keys(objects)
    return [
        f"{name_of(role)}: no {name}"
        for role in of_kind(objects, "Role")
        for rule in role["rules"]
        for name in rule.get("resourceNames", [])
        if name not in KUBEFLOWS and ("Secret", namespace_of(role), name) not in known
    ]


RULES: tuple[Rule, ...] = (
    configs_and_secrets_are_there,
    mounts_have_volumes_and_files,
    accounts_are_there,
    bindings_have_roles,
    selectors_find_pods,
    ports_are_there,
    addresses_are_services,
    names_in_rights_are_there,
)
