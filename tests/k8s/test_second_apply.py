"""Applying an overlay a second time changes nothing and conflicts with nobody.

KubeRay's operator writes a RayJob back whole when it takes it over. Its Go types have structs that are written even
when they are empty; where a manifest leaves one out inside a list that is owned as a whole, the list becomes the
operator's, and every later apply of it is a conflict.
"""

from collections.abc import Callable
from typing import Any

import pytest

from infra.manifests import Document, containers, pods, ray_clusters


def written_back(document: Document) -> list[str]:
    """Empty structs that the operator would add to a RayJob or RayCluster, as paths."""
    added: list[str] = []

    def lacks(where: str, part: dict[str, Any], key: str) -> None:
        if not isinstance(part.get(key), dict):
            added.append(f"{where}/{key}")

    for where, cluster in ray_clusters([document]):
        for group in cluster["workerGroupSpecs"]:
            lacks(f"{where}/{group['groupName']}", group, "scaleStrategy")
    for _, where, template in pods([document]):
        lacks(where, template, "metadata")
        for container in containers(template):
            lacks(f"{where}/{container['name']}", container, "resources")
    return added


def rays(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] in ("RayJob", "RayCluster")]


def test_every_group_of_every_overlay_has_what_the_operator_would_write_into_it(overlay: list[Document]) -> None:
    found = rays(overlay)
    assert len(found) == 7
    assert [path for document in found for path in written_back(document)] == []


@pytest.mark.parametrize("name", ["local-cpu", "gpu-ondemand", "gpu-spot"])
def test_a_component_that_changes_groups_keeps_it(changed: Callable[..., list[Document]], name: str) -> None:
    assert [path for document in rays(changed(name, "kueue")) for path in written_back(document)] == []
