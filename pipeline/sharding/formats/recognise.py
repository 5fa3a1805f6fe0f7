"""Which form a data set has is seen by looking; out of any comes COCO's form, and what was assumed on the way."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lhrnet.skeleton.skeleton import Skeleton
from pipeline.sharding.formats.coco import MEANT, read_coco
from pipeline.sharding.formats.cut import cut
from pipeline.sharding.formats.files import Files, open_source
from pipeline.sharding.formats.lsp import read_lsp
from pipeline.sharding.formats.people import one_category
from pipeline.sharding.formats.pixels import upright_size
from pipeline.sharding.formats.yolo import read_yolo

Tree = dict[str, Any]
FORMS: dict[str, Callable[[Files, list[str]], dict[str, Tree]]] = {
    "YOLO's folders for poses": read_yolo,
    "Leeds Sports Pose": read_lsp,
    "annotations in COCO's JSON": read_coco,
}
"""Readers of each form, in the order in which they are asked; one that finds nothing of its own gives no splits."""
VAL_SHARE = 0.1


@dataclass(frozen=True)
class Found:
    """A data set that was read."""

    files: Files
    form: str
    """What it was taken for."""
    skeleton: Skeleton
    splits: dict[str, Tree] = field(repr=False)
    """In COCO's form, by name; file names are paths below the source."""
    notes: tuple[str, ...]
    """Everything that was assumed, a sentence each."""


def recognise(source: str, *, category: str | None = None, val: float = VAL_SHARE, seed: int = 0) -> Found:
    """Read a data set of any known form.

    Args:
        source: a folder, s3://bucket/prefix, a zip anywhere, or one annotation file in a folder.
        category: name of the annotated things to take; None: the only ones with keypoints.
        val: share of the images to set aside where the source has no split to score on; 0: none.
        seed: of that cut.

    Raises:
        ValueError: it is of no known form, contradicts itself, or leaves a choice open; one line that says which.
        FileNotFoundError: nothing is there, or images are missing.
    """
    files, notes = open_source(source), list[str]()
    found = ((form, read(files, notes)) for form, read in FORMS.items())
    form, splits = next(((form, splits) for form, splits in found if splits), ("", {}))
    if not splits:
        raise ValueError(_unknown(files, notes))
    splits = {split: _sized(files, tree, notes) for split, tree in _apart(splits, notes).items()}
    splits, skeleton = one_category(splits, category, notes)
    splits = _numbered(splits, notes)
    if len(splits) == 1 and val:
        ((name, tree),) = splits.items()
        if not MEANT.fullmatch(name) or name.lower().startswith("train"):
            splits = cut(tree, val, seed, notes)
    return Found(files, form, skeleton, splits, tuple(notes))


def _unknown(files: Files, notes: list[str]) -> str:
    known = "COCO's JSON with keypoints, a data.yaml with kpt_shape, or LSP's joints.mat"
    archives = files.ending(".zip")
    passed = f" ({notes[0]})" if notes else f" (it holds {archives[0]}: give that, or unpack it)" if archives else ""
    return f"{files.url} holds {len(files.members):,} files and no annotations in a known form: {known}{passed}"


def _apart(splits: dict[str, Tree], notes: list[str]) -> dict[str, Tree]:
    """The splits without those that only repeat others, such as trainval.

    Raises:
        ValueError: two splits share images.
    """
    names = {split: {image["file_name"] for image in tree["images"]} for split, tree in splits.items()}
    kept = dict(splits)
    for split in reversed(splits):
        inside = [other for other in kept if other != split and names[other] <= names[split]]
        if inside and set().union(*(names[other] for other in inside)) == names[split]:
            del kept[split]
            notes.append(f"split {split!r} is left away: its images are those of {' and '.join(map(repr, inside))}")
    seen: dict[str, str] = {}
    for split in kept:
        for name in names[split]:
            if name in seen:
                raise ValueError(f"{name!r:.100} is in the splits {seen[name]} and {split}; it can be in one alone")
        seen |= dict.fromkeys(names[split], split)
    return kept


def _sized(files: Files, tree: Tree, notes: list[str]) -> Tree:
    """The tree with the size of every image, read from it where the annotations do not say it."""
    images, read = [], 0
    for image in tree["images"]:
        sides = [image.get("width"), image.get("height")]
        if not all(type(side) is int and side > 0 for side in sides) and image["file_name"] in files.members:
            try:
                sides = list(upright_size(files.members[image["file_name"]].read()))
            except ValueError as error:
                raise ValueError(f"{image['file_name']} in {files.url}: {error}") from error
            read += 1
        images.append({**image, "width": sides[0] or 0, "height": sides[1] or 0})
    if read:
        notes.append(f"the sizes of {read:,} images are read from them, as their annotations do not say them")
    return {**tree, "images": images}


def _numbered(splits: Mapping[str, Tree], notes: list[str]) -> dict[str, Tree]:
    """Image ids that differ over all splits, and annotation ids that differ within one; the file's own if they do."""
    images = Counter(image["id"] for tree in splits.values() for image in tree["images"])
    fits = max(images.values()) == 1 and all(isinstance(key, int) and 0 <= key < 1 << 63 for key in images)
    if not fits:
        notes.append("image ids are used twice, or are no numbers: images are numbered anew over all splits")
    made, last = {}, 0
    for split, tree in splits.items():
        ids: dict[Any, int] = {}
        for image in tree["images"]:
            last += 1
            if image["id"] in ids:
                raise ValueError(f"split {split}: the image id {image['id']!r:.40} is used twice")
            ids[image["id"]] = image["id"] if fits else last
        own = [a["id"] for a in tree["annotations"]]
        keep = all(type(key) is int for key in own) and len(set(own)) == len(own)
        listed = [a for a in tree["annotations"] if a["image_id"] in ids]
        if len(listed) < len(own):
            notes.append(f"split {split}: {len(own) - len(listed):,} annotations of images that are not listed go")
        made[split] = {
            **tree,
            "images": [{**image, "id": ids[image["id"]]} for image in tree["images"]],
            "annotations": [
                {**a, "id": a["id"] if keep else number, "image_id": ids[a["image_id"]]}
                for number, a in enumerate(listed, 1)
            ],
        }
    return made
