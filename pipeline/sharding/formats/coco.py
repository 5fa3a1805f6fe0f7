"""Annotation files in COCO's JSON, under any name and beside images in any folders.

So they come from CVAT (annotations/person_keypoints_default.json, images/default/), Roboflow
(train/_annotations.coco.json among the images), Label Studio (result.json, images/), FiftyOne (labels.json, data/),
coco-annotator, and from the publishers of CrowdPose and COCO-WholeBody.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.index import NAME
from pipeline.sharding.formats.files import Files
from pipeline.sharding.formats.wholebody import join_parts
from pipeline.storage import store

Tree = dict[str, Any]
LISTS = ("images", "annotations", "categories")
MEANT = re.compile(r"(train(ing)?|val|valid|validation|minival|test(ing)?|dev)(-?(val|dev|all))?\d*", re.IGNORECASE)
"""Words of a path that name a split."""


def read_coco(files: Files, notes: list[str]) -> dict[str, Tree]:
    """Every annotation file with keypoints in COCO's form, by split, with its images' paths below the source.

    Args:
        files: the source.
        notes: what was assumed is added here.

    Raises:
        ValueError: a file that begins like COCO's is damaged, or none of its images is there.
    """
    trees = {path: tree for path in files.ending(".json") if (tree := _parsed(files, path, notes)) is not None}
    splits: dict[str, Tree] = {}
    for path, split in split_names(list(trees)).items():
        tree = join_parts(trees[path], path, notes)
        splits[split] = {**tree, "images": _placed(tree["images"], files, path, split, notes)}
        notes.append(f"{path} is read as split {split!r}: {len(tree['images']):,} images")
    return splits


def _parsed(files: Files, path: str, notes: list[str]) -> Tree | None:
    """A file's tree if it has keypoints in COCO's form."""
    if files.members[path].size > store.MAX_BYTES:
        notes.append(f"{path} is passed over: it has more than {store.MAX_BYTES:,} bytes")
        return None
    try:
        tree = json.loads(files.members[path].read())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} in {files.url} is not JSON: {error}") from error
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), list) for key in LISTS):
        return None
    if not any(isinstance(category, dict) and category.get("keypoints") for category in tree["categories"]):
        notes.append(f"{path} is passed over: none of its categories has keypoints")
        return None
    if not tree["images"]:
        raise ValueError(f"{path} in {files.url} lists no images")
    for key in LISTS:
        if not all(isinstance(entry, dict) for entry in tree[key]):
            raise ValueError(f"{path} in {files.url}: {key} must hold objects; it is no COCO file")
    return tree


def split_names(paths: Sequence[str]) -> dict[str, str]:
    """The split of each annotation file: the word of its path that means one, else the words that the others lack.

    `annotations/person_keypoints_train2017.json` is train2017, `valid/_annotations.coco.json` valid, and of files
    that no word tells apart each has its whole path. A single file that names no split is "all".
    """
    words = {path: re.findall(r"[A-Za-z0-9-]+", re.sub(r"\.json$", "", path)) for path in paths}
    common = set.intersection(*(set(found) for found in words.values())) if len(paths) > 1 else set()
    names = {}
    for path, found in words.items():
        own = [word for word in found if word not in common]
        meant = [word for word in own if MEANT.fullmatch(word)]
        names[path] = meant[-1] if meant else "-".join(own).strip("-") if len(paths) > 1 else "all"
    for path, name in names.items():
        if list(names.values()).count(name) > 1 or not re.fullmatch(NAME, name):
            names[path] = "-".join(words[path]).strip("-")[-100:] or "all"
    return names


def _placed(
    images: Sequence[Mapping[str, Any]], files: Files, path: str, split: str, notes: list[str]
) -> list[dict[str, Any]]:
    """The images with their paths below the source as file names; those that are not there keep their name."""
    folder = path.rpartition("/")[0]
    placed, missing = [], []
    for image in images:
        name = image.get("file_name") or image.get("path")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path} in {files.url}: image {image.get('id')!r:.40} has file_name {name!r:.60}")
        there = files.picture(name, folder, split)
        if there is None:
            missing.append(name)
        placed.append({**image, "file_name": there or name.replace("\\", "/").lstrip("/")})
    if len(missing) == len(images):
        raise FileNotFoundError(
            f"none of the {len(images):,} images of {path} is in {files.url}: looked for {missing[0]!r:.100} in "
            f"{sum(map(len, files.pictures.values())):,} image files; give the folder that holds both"
        )
    if missing:
        notes.append(f"{path} lists {len(missing):,} images that are not there, such as {missing[0]!r:.100}")
    return placed
