"""Every document fits its schema at the oldest and the newest Kubernetes stated, and KubeRay's at v1.7.0."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from infra.manifests import Document, as_pod, crd_errors, pods

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = "1.32", "1.36"
CRDS = {"RayJob": "ray.io_rayjobs.yaml", "RayCluster": "ray.io_rayclusters.yaml"}
WITHOUT_SCHEMA = {
    "ClusterQueue",
    "LocalQueue",
    "ResourceFlavor",
    "PodMonitor",
    "ServiceMonitor",
    "PrometheusRule",
}
"""Kinds of optional add-ons, which nobody here has a schema of."""


def kuberay() -> Path:
    folder = Path(os.environ.get("LHRNET_SCHEMAS", ROOT / "../shared/schemas")) / "kuberay-v1.7.0"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set LHRNET_SCHEMAS to a folder with KubeRay's CRDs")
    return folder


def assert_fits(document: Document, version: str) -> None:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = "/".join(map(str, error.path))
        pytest.fail(f"{document['kind']}/{document['metadata']['name']} at {version}: {where}: {error.message}")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_document_of_every_overlay_is_known_to_kubernetes(overlay: list[Document], version: str) -> None:
    for document in overlay:
        if document["kind"] not in CRDS and document["kind"] not in WITHOUT_SCHEMA:
            assert_fits(document, version)
    for _, where, template in pods(overlay):
        assert_fits(as_pod(where, template), version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_mlflow_is_known_to_kubernetes(
    rendered: dict[str, list[Document]], changed: Callable[..., list[Document]], version: str
) -> None:
    assert len(rendered["mlflow"]) > 10
    managed = changed("../mlflow", "managed-postgres")
    for document in [*rendered["mlflow"], *rendered["local-mlflow"], *managed, *rendered["namespaces"]]:
        assert_fits(document, version)


def test_rays_resources_fit_kuberays_schemas(overlay: list[Document]) -> None:
    checked = 0
    for document in overlay:
        if document["kind"] in CRDS:
            assert crd_errors(document, kuberay() / CRDS[document["kind"]]) == [], document["metadata"]["name"]
            checked += 1
    assert checked == 7


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("spec", "backOffLimit"), 2, "backOffLimit"),
        (("spec", "rayClusterSpec", "autoscalerOptions", "version"), "v3", "v3"),
        (("spec", "activeDeadlineSeconds"), "1d", "1d"),
    ],
)
def test_a_field_that_kuberay_does_not_know_is_found(
    rendered: dict[str, list[Document]], path: tuple[str, ...], value: object, complaint: str
) -> None:
    job = next(document for document in rendered["gpu-spot"] if document["kind"] == "RayJob")
    job = yaml.safe_load(yaml.safe_dump(job))
    inner = job
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert any(complaint in error for error in crd_errors(job, kuberay() / CRDS["RayJob"]))


def test_the_page_states_the_versions_that_are_tested() -> None:
    page = (ROOT / "k8s" / "README.md").read_text()
    assert f"Kubernetes {OLDEST} to {NEWEST}" in page
    assert re.search(r"KubeRay\D+1\.7\.0", page)
