"""Where the scheduler may put a pod, on nodes as four clouds make them, by its hard rules alone."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.manifests import Document, pods

PRODUCT = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
SPOT, ON_DEMAND = "karpenter.sh/capacity-type", "on-demand"


@dataclass(frozen=True)
class Node:
    """A node's labels and the taints that keep pods off it, key to value."""

    labels: dict[str, str] = field(default_factory=dict)
    taints: dict[str, str] = field(default_factory=dict)


GPU_TAINT = {"nvidia.com/gpu": "present"}
AKS_SPOT = {"kubernetes.azure.com/scalesetpriority": "spot"}
CLOUDS = {
    "karpenter": {
        "cpu": Node({SPOT: ON_DEMAND}),
        "cpu-spot": Node({SPOT: "spot"}),
        "gpu": Node({SPOT: ON_DEMAND, "karpenter.k8s.aws/instance-gpu-count": "8", **PRODUCT}, GPU_TAINT),
        "gpu-spot": Node(
            {SPOT: "spot", "karpenter.k8s.aws/instance-gpu-count": "8", **PRODUCT}, {**GPU_TAINT, "spot": ""}
        ),
    },
    "gke": {
        "cpu": Node(),
        "cpu-spot": Node({"cloud.google.com/gke-spot": "true"}),
        "gpu": Node({"cloud.google.com/gke-accelerator": "nvidia-a100-80gb", **PRODUCT}, GPU_TAINT),
        "gpu-spot": Node({"cloud.google.com/gke-spot": "true", **PRODUCT}, GPU_TAINT),
    },
    "eks": {  # GPU node groups without taints
        "cpu": Node({"eks.amazonaws.com/capacityType": "ON_DEMAND"}),
        "cpu-spot": Node({"eks.amazonaws.com/capacityType": "SPOT"}),
        "gpu": Node({"eks.amazonaws.com/capacityType": "ON_DEMAND", **PRODUCT}),
        "gpu-spot": Node({"eks.amazonaws.com/capacityType": "SPOT", **PRODUCT}),
    },
    "aks": {
        "cpu": Node(),
        "cpu-spot": Node(AKS_SPOT, AKS_SPOT),
        "gpu": Node({"kubernetes.azure.com/accelerator": "nvidia", **PRODUCT}, {"sku": "gpu"}),
        "gpu-spot": Node(
            {"kubernetes.azure.com/accelerator": "nvidia", **PRODUCT, **AKS_SPOT}, {"sku": "gpu", **AKS_SPOT}
        ),
    },
}


def holds(rule: dict[str, Any], labels: dict[str, str]) -> bool:
    value, wanted = labels.get(rule["key"]), rule.get("values", [])
    held = {
        "In": value in wanted,
        "NotIn": value not in wanted,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return held[rule["operator"]]


def may_stand(spec: dict[str, Any], node: Node) -> bool:
    """Whether selector, required affinity and tolerations let a pod onto a node."""
    for key, value in node.taints.items():
        borne = [t for t in spec.get("tolerations", []) if t["key"] == key]
        if not any(t["operator"] == "Exists" or t.get("value") == value for t in borne):
            return False
    if not spec.get("nodeSelector", {}).items() <= node.labels.items():
        return False
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return not terms or any(all(holds(rule, node.labels) for rule in term["matchExpressions"]) for term in terms)


def nodes_for(spec: dict[str, Any], cloud: str) -> set[str]:
    return {name for name, node in CLOUDS[cloud].items() if may_stand(spec, node)}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_heads_submitters_and_cpu_workers_stand_on_ordinary_nodes_alone(overlay: list[Document], cloud: str) -> None:
    checked = 0
    for _, where, template in pods(overlay):
        if where.startswith("Ray") and where.endswith(("/head", "/submitter", "/cpu")):
            checked += 1
            assert nodes_for(template["spec"], cloud) == {"cpu"}, where
    assert checked >= 15


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", ["gpu-ondemand", "gpu-mixed"])
def test_workers_on_demand_never_stand_on_a_spot_node(
    rendered: dict[str, list[Document]], name: str, cloud: str
) -> None:
    found = [template for _, where, template in pods(rendered[name]) if where.endswith("/gpu")]
    assert len(found) == 6
    for template in found:
        assert nodes_for(template["spec"], cloud) == {"gpu"}


def test_workers_on_spot_stand_on_the_spot_nodes_of_the_projects_own_pools(
    rendered: dict[str, list[Document]],
) -> None:
    groups = {"gpu-spot": "/gpu", "gpu-mixed": "/gpu-spot"}
    for name, suffix in groups.items():
        found = [template for _, where, template in pods(rendered[name]) if where.endswith(suffix)]
        assert len(found) >= 5
        for template in found:
            assert nodes_for(template["spec"], "karpenter") == {"gpu-spot"}
