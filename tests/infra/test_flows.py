"""The NetworkPolicies let through exactly the written flows."""

from pathlib import Path

import pytest

from tests.infra.flows import OURS, PORTS, allowed, peers
from tests.infra.manifests import OVERLAYS, Object, build, find, of_kind

NO_PORT = {"protocol": "TCP", "port": 1}
NO_POD = {"podSelector": {"matchLabels": {"no": "one"}}}
TABLE = Path(__file__).parent / "flows.txt"


def written(overlay: str, objects: list[Object]) -> set[str]:
    found = set()
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            where, separator, flow = line.partition(": ")
            if not separator or where == Path(overlay).name:
                found.add(flow if separator else line)
    asking = {peer.name for peer in peers(objects) if peer.namespace in OURS}
    return found | {f"{name} -> dns {way}/53" for name in asking for way in ("UDP", "TCP")}


@pytest.mark.row("I04")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exactly_the_written_flows_are_possible(overlay: str) -> None:
    objects = build(overlay)
    assert allowed(objects) == written(overlay, objects)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_policy_carries_weight(overlay: str) -> None:
    objects = build(overlay)
    expected = written(overlay, objects)
    for policy in of_kind(objects, "NetworkPolicy"):
        without = [thing for thing in objects if thing is not policy]
        assert allowed(without) != expected, f"{policy['metadata']} could go unnoticed"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_port_and_peer_of_a_policy_carries_weight(overlay: str) -> None:
    objects = build(overlay)
    expected = written(overlay, objects)
    for policy in of_kind(objects, "NetworkPolicy"):
        for side, where in (("ingress", "from"), ("egress", "to")):
            for flow in policy["spec"].get(side, []):
                for part, nobody in ((flow["ports"], NO_PORT), (flow[where], NO_POD)):
                    for at, entry in enumerate(list(part)):
                        part[at] = nobody
                        assert allowed(objects) != expected, (policy["metadata"]["name"], entry)
                        part[at] = entry


@pytest.mark.row("I04")
def test_a_flow_too_many_is_seen() -> None:
    objects = build("overlays/production")
    expected = written("overlays/production", objects)
    policy = find(objects, "NetworkPolicy/to-s3")
    policy["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"] = "0.0.0.0/0"
    extra = allowed(objects) - expected
    assert "mlflow -> cloud-metadata TCP/443" in extra
    assert "mlflow -> internet TCP/443" in extra


def test_an_open_namespace_selector_is_seen() -> None:
    objects = build("overlays/local")
    expected = written("overlays/local", objects)
    sources = find(objects, "NetworkPolicy/postgres")["spec"]["ingress"][0]["from"]
    sources[0]["namespaceSelector"] = {}
    assert allowed(objects) - expected == {"stranger -> postgres TCP/5432"}


def test_every_port_of_a_policy_and_of_a_server_is_tried() -> None:
    for overlay in OVERLAYS:
        objects = build(overlay)
        named = {
            (port["protocol"], port["port"])
            for policy in of_kind(objects, "NetworkPolicy")
            for side in ("ingress", "egress")
            for flow in policy["spec"].get(side, [])
            for port in flow["ports"]
        }
        assert named <= set(PORTS)
