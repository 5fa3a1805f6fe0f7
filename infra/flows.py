"""What Kubernetes says of NetworkPolicies, as a function: whether a packet passes between two ends."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

from infra.manifests import Document


@dataclass(frozen=True)
class End:
    """A pod with its namespace and labels; without a namespace a host, which no policy selects."""

    ip: str = "10.244.0.9"
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether matchLabels hold; the manifests use nothing else, and anything else is an error here."""
    unknown = set(selector) - {"matchLabels"}
    if unknown:
        raise ValueError(f"the selector has {unknown}, which this test does not know; add it")
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def is_peer(entry: dict[str, Any], home: str, other: End) -> bool:
    if "ipBlock" in entry:
        address, block = ipaddress.ip_address(other.ip), entry["ipBlock"]
        left_out = any(address in ipaddress.ip_network(part) for part in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not left_out
    if not other.namespace:
        return False
    if "namespaceSelector" in entry:
        named = {"kubernetes.io/metadata.name": other.namespace}
        if not selects(entry["namespaceSelector"], named):
            return False
    elif other.namespace != home:
        return False
    return selects(entry.get("podSelector", {}), other.labels)


def one_side(policies: list[Document], end: End, other: End, kind: str, port: int, protocol: str) -> bool:
    """Whether the policies that select `end` let it send to, or receive from, the other."""
    mine = [
        policy["spec"]
        for policy in policies
        if end.namespace == policy["metadata"]["namespace"]
        and selects(policy["spec"]["podSelector"], end.labels)
        and kind in policy["spec"]["policyTypes"]
    ]
    if not mine:
        return True
    for spec in mine:
        for rule in spec.get(kind.lower(), []):
            entries = rule["from" if kind == "Ingress" else "to"]
            ports = rule.get("ports")
            open_port = ports is None or {"port": port, "protocol": protocol} in ports
            if open_port and any(is_peer(entry, end.namespace, other) for entry in entries):
                return True
    return False


def passes(documents: list[Document], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection from one end to the other is let through by both."""
    policies = [document for document in documents if document["kind"] == "NetworkPolicy"]
    return one_side(policies, source, target, "Egress", port, protocol) and one_side(
        policies, target, source, "Ingress", port, protocol
    )
