"""A part of the images set aside to score on, where a source has no such split: a pure function of names and a seed."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Tree = dict[str, Any]
COPY = re.compile(r"(_(jpg|jpeg|png))?\.rf\.[0-9A-Za-z]+$")
"""What Roboflow adds to the name of each altered copy of an image."""
NUMBER = re.compile(r"[-_. ]*(frame|f|img|image)?[-_. ]*\d+$", re.IGNORECASE)
FILMS = 5
"""Films there must be at least for the cut to go between them."""


def cut(tree: Tree, share: float, seed: int, notes: list[str]) -> dict[str, Tree]:
    """Split a tree into train and val.

    Images of one film, by their names, stay together, and so do altered copies of one image: a network is not scored on
    what it was trained on but for a frame. An image that is added later moves few others.

    Args:
        tree: in COCO's form.
        share: of the images that val gets, at least one.
        seed: another seed makes another cut.
        notes: how it was cut is added here.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than two images.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of val is {share}; it must be above 0 and below 1")
    names = [image["file_name"] for image in tree["images"]]
    films, kind = grouped(names)
    if len(set(films)) < 2:
        raise ValueError(f"{len(names)} images cannot be cut into train and val; give more, or a share of 0 for no val")
    members: dict[str, list[int]] = defaultdict(list)
    for place, film in enumerate(films):
        members[film].append(place)
    order = sorted(members, key=lambda film: hashlib.sha256(f"{seed} {film}".encode()).digest())
    chosen: set[int] = set()
    for film in order[:-1]:
        if len(chosen) >= max(1, round(share * len(names))):
            break
        chosen.update(members[film])
    notes.append(
        f"it names no split to score on: {len(chosen):,} of {len(names):,} images are set aside as val, cut by {kind} "
        f"with seed {seed}"
    )
    train = [place for place in range(len(names)) if place not in chosen]
    return {"train": _part(tree, train), "val": _part(tree, sorted(chosen))}


def grouped(names: Sequence[str]) -> tuple[list[str], str]:
    """The film of each image, or else the image itself, and in a word what it was told by."""
    stems = [COPY.sub("", name.rpartition(".")[0] or name) for name in names]
    films = [NUMBER.sub("", stem) for stem in stems]
    several = len(set(films))
    if several >= FILMS and 2 * several <= len(set(stems)):
        return films, f"film ({several:,}, by the names less their last number)"
    return stems, "image" if len(set(stems)) == len(names) else "image, altered copies kept together"


def _part(tree: Tree, places: Sequence[int]) -> Tree:
    images = [tree["images"][place] for place in places]
    listed = {image["id"] for image in images}
    return {**tree, "images": images, "annotations": [a for a in tree["annotations"] if a["image_id"] in listed]}
