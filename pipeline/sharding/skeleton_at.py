"""The skeleton of whatever is named: annotations, data that were taken in, shards, or one that is built in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhrnet.skeleton import SKELETONS
from lhrnet.skeleton.infer import of_truth
from lhrnet.skeleton.skeleton import Skeleton
from pipeline.data.index import splits, truth
from pipeline.sharding.formats.people import ABOUT, one_category
from pipeline.sharding.formats.recognise import recognise
from pipeline.sharding.imported import annotations_of, read_manifest
from pipeline.sharding.portrait import graph_pose, poses_of, typical_pose
from pipeline.storage import store


@dataclass(frozen=True, eq=False)
class Seen:
    """A skeleton, and what is known of it."""

    skeleton: Skeleton
    notes: tuple[str, ...]
    """What was assumed, a sentence each."""
    pose: NDArray[np.float64] = field(repr=False)
    """(K, 3) x, y and visibility in which to draw it."""


def skeleton_at(url: str, *, category: str | None = None) -> Seen:
    """Find a skeleton, and a pose to draw it in.

    Args:
        url: name of a built-in skeleton; an annotation file in COCO's form, with or without its images; a folder that
            `lhrnet data import` wrote; shards; or any data set that it could take in.
        category: name of the annotated things, where several have keypoints.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there has no keypoints, or contradicts itself.
    """
    if url in SKELETONS:
        return _seen(SKELETONS[url], {}, ["it is built in"])
    notes: list[str] = []
    if url.endswith(".json"):
        made, skeleton = one_category({"all": _tree(url)}, category, notes)
        return _seen(skeleton, made, notes)
    if manifest := read_manifest(url):
        trees = {split: _tree(annotations_of(url, split)) for split in manifest.splits}
        notes = [note for note in manifest.notes if note.startswith(ABOUT)]
        return _seen(of_truth(next(iter(trees.values()))), trees, notes)
    try:
        trees = {split: truth(place) for split, place in splits(url).items()}
    except FileNotFoundError:
        found = recognise(url, category=category, val=0)
        return _seen(found.skeleton, found.splits, list(found.notes))
    return _seen(of_truth(next(iter(trees.values()))), trees, notes)


def _tree(url: str) -> dict[str, Any]:
    try:
        tree = json.loads(store.read_bytes(url))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{url} is not JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        entries = tree.get(key) if isinstance(tree, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{url} is no annotation file in COCO's form: it has no list {key!r} of objects")
    return {**tree, "images": [{"file_name": "", **image} for image in tree["images"]]}


def _seen(skeleton: Skeleton, trees: Mapping[str, Mapping[str, Any]], notes: list[str]) -> Seen:
    poses = [poses_of(tree, skeleton) for tree in trees.values()]
    if any(map(len, poses)):
        return Seen(skeleton, tuple(notes), typical_pose(np.concatenate(poses)))
    return Seen(skeleton, (*notes, "nobody is annotated: it is drawn by its limbs alone"), graph_pose(skeleton))
