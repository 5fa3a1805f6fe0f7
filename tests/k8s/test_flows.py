"""Who may speak to whom: every connection that has a purpose passes, on every overlay, and no other."""

import pytest

from infra.flows import End, passes
from infra.manifests import Document

RAY = {"ray.io/is-ray-node": "yes", "ray.io/cluster": "train-abcde"}
SOURCE = {"lhrnet/reads": "source"}
ENDS = {
    # as KubeRay labels pods
    "head": End(namespace="lhrnet", labels={**RAY, "ray.io/node-type": "head"}),
    "worker": End(namespace="lhrnet", labels={**RAY, "ray.io/node-type": "worker"}),
    "shard-head": End(namespace="lhrnet", labels={**RAY, "ray.io/node-type": "head", **SOURCE}),
    "shard-worker": End(namespace="lhrnet", labels={**RAY, "ray.io/node-type": "worker", **SOURCE}),
    "submitter": End(namespace="lhrnet", labels={"ray.io/originated-from-crd": "RayJob", "job-name": "train"}),
    "plain": End(namespace="lhrnet", labels={"app": "x"}),
    "stranger": End(namespace="other", labels={"app": "x"}),
    "operator": End(namespace="kuberay-system", labels={"app.kubernetes.io/name": "kuberay-operator"}),
    "mlflow": End(namespace="mlflow", labels={"app.kubernetes.io/name": "mlflow"}),
    "postgres": End(namespace="mlflow", labels={"app.kubernetes.io/name": "postgres"}),
    "store": End(namespace="object-store", labels={"app.kubernetes.io/name": "object-store"}),
    "prometheus": End(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"}),
    "coredns": End(namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "node-dns-pod": End(namespace="kube-system", labels={"k8s-app": "node-local-dns"}),
    "openshift-dns": End(namespace="openshift-dns", labels={"dns.operator.openshift.io/daemonset-dns": "default"}),
    # hosts
    "node-dns": End("169.254.20.10"),
    "api-server": End("172.20.0.5"),
    "node": End("172.18.0.4"),
    "s3": End("52.216.1.1"),
    "coco": End("52.92.1.1"),
    "metadata": End("169.254.169.254"),
    "pod-identity": End("169.254.170.23"),
    "database": End("10.9.0.7"),
}
WANTED = [
    ("operator", "head", 8265),
    ("submitter", "head", 8265),
    ("worker", "head", 6379),
    ("head", "worker", 10002),
    ("worker", "worker", 40123),
    ("head", "api-server", 443),
    ("head", "api-server", 6443),
    ("head", "api-server", 8443),
    ("head", "api-server", 16443),
    ("head", "s3", 443),
    ("worker", "s3", 443),
    ("worker", "store", 8333),
    ("head", "store", 8333),
    ("worker", "mlflow", 5000),
    ("head", "mlflow", 5000),
    ("shard-worker", "coco", 80),
    ("shard-head", "coco", 80),
    ("shard-worker", "s3", 443),
    ("prometheus", "head", 8080),
    ("prometheus", "worker", 8080),
    ("prometheus", "head", 44217),
    ("prometheus", "head", 44227),
    ("mlflow", "postgres", 5432),
    ("mlflow", "s3", 443),
    ("mlflow", "store", 8333),
]
NAMES = [
    (asker, server, 5353 if server == "openshift-dns" else 53)
    for asker in ("head", "worker", "submitter", "mlflow")
    for server in ("coredns", "node-dns", "node-dns-pod", "openshift-dns")
]
UNWANTED = [
    ("worker", "api-server", 6443),
    ("submitter", "api-server", 6443),
    ("submitter", "mlflow", 5000),
    ("submitter", "s3", 443),
    ("worker", "coco", 80),
    ("head", "coco", 80),
    ("worker", "stranger", 80),
    ("worker", "metadata", 80),
    ("head", "metadata", 80),
    ("shard-worker", "metadata", 80),
    ("shard-head", "metadata", 80),
    ("mlflow", "metadata", 80),
    ("worker", "metadata", 443),
    ("worker", "pod-identity", 80),
    ("head", "node", 10250),
    ("head", "postgres", 5432),
    ("prometheus", "mlflow", 5000),
    ("stranger", "head", 8265),
    ("stranger", "head", 10001),
    ("stranger", "worker", 8080),
    ("stranger", "mlflow", 5000),
    ("plain", "head", 8265),
    ("plain", "mlflow", 5000),
    ("postgres", "s3", 443),
    ("prometheus", "head", 8265),
    ("operator", "worker", 8265),
    ("operator", "head", 10001),
    ("node", "head", 8265),
    ("mlflow", "database", 5432),
]


@pytest.fixture(scope="module")
def cluster(overlay: list[Document], rendered: dict[str, list[Document]]) -> list[Document]:
    return [*overlay, *rendered["mlflow"]]


@pytest.mark.parametrize(("source", "target", "port"), WANTED)
def test_what_has_a_purpose_passes(cluster: list[Document], source: str, target: str, port: int) -> None:
    assert passes(cluster, ENDS[source], ENDS[target], port)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize(("source", "target", "port"), NAMES)
def test_names_are_found_by_every_kind_of_cluster_dns(
    cluster: list[Document], source: str, target: str, port: int, protocol: str
) -> None:
    assert passes(cluster, ENDS[source], ENDS[target], port, protocol)


@pytest.mark.parametrize(("source", "target", "port"), UNWANTED)
def test_nothing_else_does(cluster: list[Document], source: str, target: str, port: int) -> None:
    assert not passes(cluster, ENDS[source], ENDS[target], port)


def test_a_store_in_the_cluster_speaks_to_nobody_by_itself(rendered: dict[str, list[Document]]) -> None:
    assert passes(rendered["local-cpu"], ENDS["worker"], ENDS["store"], 8333)
    assert not passes(rendered["local-cpu"], ENDS["store"], ENDS["s3"], 443)
    assert not passes(rendered["local-cpu"], ENDS["stranger"], ENDS["store"], 8333)


def test_the_pods_that_read_the_source_are_those_of_shard(overlay: list[Document]) -> None:
    from infra.manifests import pods

    marked = {w for _, w, template in pods(overlay) if template.get("metadata", {}).get("labels", {}) == SOURCE}
    assert marked == {"RayJob/shard/head", "RayJob/shard/cpu"}
