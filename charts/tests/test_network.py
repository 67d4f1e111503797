"""Who reaches whom, computed from the rendered policies, is what the table says: not less, and not more."""

import ipaddress
import re
from typing import NamedTuple

import pytest
import yaml
from support import CHARTS, NAMESPACE, SERVICES, objects, pods

CALLS = yaml.safe_load(
    re.search(r'define "rapport-service.calls" -}}\n(.*?){{-', (CHARTS / "rapport-service/templates/_calls.tpl").read_text(), re.S)[
        1
    ]
)
PORTS = (53, 443, 4317, 5432, 5672, 8080, 8081, 9090, 15672)


class Peer(NamedTuple):
    name: str
    namespace: str
    labels: dict
    address: str = "10.0.0.1"


# Who is no part of a release.
STRANGERS = [
    Peer("dns", "kube-system", {"k8s-app": "kube-dns"}),
    Peer("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    Peer("collector", "observability", {}),
    Peer("gateway", "gateway", {}),
    Peer("stranger", NAMESPACE, {"app": "stranger"}),
    Peer(
        "namesake",
        "elsewhere",
        {"app.kubernetes.io/name": "identity", "app.kubernetes.io/component": "server", "app.kubernetes.io/part-of": "rapport"},
    ),
    Peer("outside", "", {}, "203.0.113.7"),
]


def peer_of(labels):
    name, component = labels["app.kubernetes.io/name"], labels.get("app.kubernetes.io/component")
    return Peer(name if component in ("server", "development") else f"{name}-{component}", NAMESPACE, labels)


def selected(selector, labels):
    def holds(condition):
        value, values = labels.get(condition["key"]), condition.get("values", [])
        return {"In": value in values, "NotIn": value not in values, "Exists": value is not None, "DoesNotExist": value is None}[
            condition["operator"]
        ]

    return selector.get("matchLabels", {}).items() <= labels.items() and all(map(holds, selector.get("matchExpressions", [])))


def meets(rule, peer):
    if "ipBlock" in rule:
        address = ipaddress.ip_address(peer.address)
        return address in ipaddress.ip_network(rule["ipBlock"]["cidr"]) and not any(
            address in ipaddress.ip_network(block) for block in rule["ipBlock"].get("except", [])
        )
    if "namespaceSelector" in rule:
        if not peer.namespace or not selected(rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != NAMESPACE:
        return False
    return selected(rule.get("podSelector", {}), peer.labels)


def lets(policies, direction, one, other, port):
    """Whether the policies of `one` let it talk with `other` in this direction; without any they do."""
    if one.namespace != NAMESPACE:
        return True
    own = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and selected(policy["spec"]["podSelector"], one.labels)
    ]
    key, side = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return not own or any(
        (not rule.get(side) or any(meets(peer, other) for peer in rule[side]))
        and (not rule.get("ports") or any(port == allowed["port"] for allowed in rule["ports"]))
        for spec in own
        for rule in spec.get(key) or []
    )


def matrix(rendered):
    policies = [document for document in rendered if document["kind"] == "NetworkPolicy"]
    peers = [*(peer_of(labels) for _, labels, _ in pods(rendered)), *STRANGERS]
    ours = {peer.name for peer in peers if peer not in STRANGERS}
    return {
        (one.name, other.name, port)
        for one in peers
        for other in peers
        for port in PORTS
        if one is not other
        and {one.name, other.name} & ours
        and lets(policies, "Egress", one, other, port)
        and lets(policies, "Ingress", other, one, port)
    }


def table(services, database):
    """What is to be allowed among these services, with a database and a broker of the release or without."""
    for service in services:
        for callee in set(CALLS[service]) & set(services):
            yield service, callee, 8080
        yield f"{service}-test", service, 8080
        yield "prometheus", service, 9090
        for pod in (service, f"{service}-migrate", f"{service}-test"):
            yield pod, "dns", 53
        if database:
            yield service, "postgres", 5432
            yield f"{service}-migrate", "postgres", 5432
            yield service, "rabbitmq", 5672


def test_the_table_names_every_service():
    assert sorted(CALLS) == sorted(SERVICES)
    assert all(set(callees) <= set(SERVICES) for callees in CALLS.values())


@pytest.mark.parametrize("profile", ["dev", "standard", "ha"])
def test_nobody_reaches_anybody_but_as_the_table_says(profile):
    rendered = objects("rapport", CHARTS / "rapport" / "profiles" / f"{profile}.yaml")
    assert matrix(rendered) == set(table(SERVICES, database=profile == "dev"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_alone_is_as_closed(service):
    assert matrix(objects(service)) == set(table([service], database=False))


@pytest.mark.parametrize("service", SERVICES)
def test_a_certificate_opens_nothing(service):
    """Health in plain text is for the kubelet, which no policy keeps from the pods of its node."""
    values = {"certificate": {"enabled": True, "issuer": {"name": "internal"}}}
    assert matrix(objects(service, values=values)) == set(table([service], database=False))


@pytest.mark.parametrize("service", SERVICES)
def test_what_values_let_in_and_out_is_all_that_comes_besides(service):
    values = {
        "config": {"otlp": "http://collector.observability:4317"},
        "networkPolicy": {
            "extraIngress": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]}],
            "prometheus": [],
        },
    }
    besides = {("gateway", service, 8080), (service, "outside", 443), (service, "collector", 4317)}
    usual = {row for row in table([service], database=False) if row[0] != "prometheus"}
    assert matrix(objects(service, values=values)) == usual | besides


def test_the_matrix_sees_a_hole():
    """A policy that lets one more in must show, or the tests above say nothing."""
    rendered = objects("contacts")
    hole = next(
        document for document in rendered if document["kind"] == "NetworkPolicy" and document["metadata"]["name"] == "contacts"
    )
    hole["spec"]["ingress"].append({"from": [{"podSelector": {}}]})
    assert ("stranger", "contacts", 9090) in matrix(rendered)
