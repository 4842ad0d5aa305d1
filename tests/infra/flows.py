"""Who may speak to whom, computed from the NetworkPolicies as Kubernetes defines them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from itertools import product

from tests.infra.manifests import (
    RUNS,
    SERVICES,
    Object,
    namespace_of,
    of_kind,
    pods,
    selects,
)

OURS = {SERVICES, RUNS}


@dataclass(frozen=True)
class Peer:
    """Somebody on the network: a pod, or an address outside the cluster."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


_RUN = {"pipelines.kubeflow.org/v2_component": "true"}

# Pods that no manifest of ours makes, and addresses outside.
OTHERS = (
    Peer("run", RUNS, _RUN),
    Peer("run/fetch", RUNS, {**_RUN, "pipeline-step": "fetch"}),
    Peer("run/tune", RUNS, {**_RUN, "pipeline-step": "tune"}),
    Peer("stranger-in-runs", RUNS, {"app": "notebook"}),
    Peer("stranger-in-services", SERVICES, {"app": "debug"}),
    Peer("stranger", "elsewhere", {"app.kubernetes.io/name": "mlflow", "uses-postgres": "true"}),
    Peer("dns", "kube-system", {"k8s-app": "kube-dns"}),
    Peer("kubeflow/api", "kubeflow", {"app": "ml-pipeline"}),
    Peer("kubeflow/metadata", "kubeflow", {"component": "metadata-grpc-server"}),
    Peer("kubeflow/s3", "kubeflow", {"app": "seaweedfs"}),
    Peer("kubeflow/mysql", "kubeflow", {"app": "mysql"}),
    Peer("ingress", "ingress-nginx", {"app.kubernetes.io/component": "controller"}),
    Peer("api-server", address="192.0.2.1"),
    Peer("git-outside", address="192.0.2.200"),
    Peer("s3-outside", address="198.51.100.7"),
    Peer("cloud-metadata", address="169.254.169.254"),
    Peer("internet", address="203.0.113.9"),
)

# Every port that a policy names or a server here listens on, and some that nobody should reach.
PORTS = (
    ("UDP", 53), ("TCP", 53), ("TCP", 80), ("TCP", 443), ("TCP", 3306), ("TCP", 5000),
    ("TCP", 5432), ("TCP", 6443), ("TCP", 8080), ("TCP", 8333), ("TCP", 8887), ("TCP", 8888),
    ("TCP", 9333), ("TCP", 18888),
)  # fmt: skip


def peers(objects: list[Object]) -> list[Peer]:
    """All pods of the overlay and `OTHERS`."""
    own = [Peer(pod.name, pod.namespace, pod.labels) for pod in pods(objects)]
    return own + list(OTHERS)


def allowed(objects: list[Object]) -> set[str]:
    """Each possible flow as `from -> to protocol/port`, between ours and anybody."""
    policies, everybody = of_kind(objects, "NetworkPolicy"), peers(objects)
    return {
        f"{one.name} -> {other.name} {protocol}/{port}"
        for one, other in product(everybody, everybody)
        if one is not other and OURS & {one.namespace, other.namespace}
        for protocol, port in PORTS
        if _passes(policies, "Egress", one, other, protocol, port)
        and _passes(policies, "Ingress", other, one, protocol, port)
    }


def _passes(
    policies: list[Object], side: str, own: Peer, far: Peer, protocol: str, port: int
) -> bool:
    """Whether the policies on `own` let the flow pass; a pod that no policy selects is open."""
    mine = [
        policy["spec"]
        for policy in policies
        if own.namespace == namespace_of(policy)
        and side in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], own.labels)
    ]
    where = "to" if side == "Egress" else "from"
    return not mine or any(
        _takes_port(flow, protocol, port) and _takes_peer(flow, where, own, far)
        for spec in mine
        for flow in spec.get(side.lower(), [])
    )


def _takes_port(flow: Object, protocol: str, port: int) -> bool:
    """A flow without ports takes all of them."""
    ports = flow.get("ports")
    return not ports or any(
        each.get("protocol", "TCP") == protocol and each.get("port", port) == port for each in ports
    )


def _takes_peer(flow: Object, where: str, own: Peer, far: Peer) -> bool:
    """A flow without peers takes everybody."""
    return not flow.get(where) or any(_matches(each, own, far) for each in flow[where])


def _matches(entry: Object, own: Peer, far: Peer) -> bool:
    if "ipBlock" in entry:
        block = entry["ipBlock"]
        if not far.address:
            return False
        address = ipaddress.ip_address(far.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", [])
        )
    if far.address:
        return False
    space = entry.get("namespaceSelector")
    labels = {"kubernetes.io/metadata.name": far.namespace}
    near = far.namespace == own.namespace if space is None else selects(space, labels)
    return near and selects(entry.get("podSelector", {}), far.labels)
