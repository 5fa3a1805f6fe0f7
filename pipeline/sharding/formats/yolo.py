"""YOLO's folders for poses: data.yaml names the sets, and beside each image lies a text file of labels.

A line of labels is `class x y width height` of the box, by its middle, and then x, y and, where kpt_shape ends in 3, a
visibility for each keypoint; all of it as a share of the image's width and height. The form is documented at
https://docs.ultralytics.com/datasets/pose/.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from lhrnet.skeleton import COCO
from lhrnet.skeleton.infer import numbered
from lhrnet.skeleton.skeleton import MAX_KEYPOINTS
from pipeline.sharding.formats.files import PICTURES, Files
from pipeline.sharding.formats.pixels import upright_size
from pipeline.storage.safe_yaml import read_yaml

Tree = dict[str, Any]
SETS: Final = ("train", "val", "valid", "test")
TEXT_BYTES: Final = 1 << 22
"""Bytes of a file of labels, of data.yaml or of a list of images at most: thousands of people."""


@dataclass(frozen=True)
class Form:
    """What data.yaml says of every label."""

    names: dict[int, str]
    """Of the classes, by number."""
    keypoints: int
    numbers: int
    """Of each keypoint: 2 or 3."""
    flip: list[int] | None
    labels: dict[int, list[str]]
    """Names of each class' keypoints, where they are given."""

    def category(self, number: int, notes: list[str]) -> dict[str, Any]:
        """A class as a category of COCO's form."""
        if number in self.labels:
            names, limbs = self.labels[number], []
        elif self.keypoints == COCO.count and self.flip in (None, list(COCO.flip)):
            names, limbs = list(COCO.keypoints), [[a + 1, b + 1] for a, b in COCO.limbs]
            notes.append("data.yaml names no keypoints; as there are 17, they are taken for COCO's, in its order")
            return {"id": number, "name": self.names[number], "keypoints": names, "skeleton": limbs}
        else:
            names, limbs = numbered(self.keypoints), []
            notes.append(
                f"data.yaml names no keypoints (kpt_names): they are called point_1 to point_{self.keypoints}; "
                "`lhrnet data skeleton` writes a file in which to name and join them"
            )
        flip = {} if self.flip is None else {"flip_index": self.flip}
        return {"id": number, "name": self.names[number], "keypoints": names, "skeleton": limbs, **flip}


def read_yolo(files: Files, notes: list[str]) -> dict[str, Tree]:
    """The sets that a data.yaml with kpt_shape names, by split; none where the source holds no such file.

    Args:
        files: the source.
        notes: what was assumed is added here.

    Raises:
        ValueError: data.yaml contradicts itself, or a label contradicts it; an image is damaged.
        FileNotFoundError: images that it names are not in the source.
    """
    read = {path: _settings(files, path) for path in files.ending(".yaml", ".yml")}
    described = {path: settings for path, settings in read.items() if "kpt_shape" in settings}
    if not described:
        return {}
    if len(described) > 1:
        raise ValueError(f"{files.url} holds {' and '.join(sorted(described))} with kpt_shape; give one of them")
    ((path, settings),) = described.items()
    form = _form(settings, path)
    categories = [form.category(number, notes) for number in form.names]
    notes[:] = dict.fromkeys(notes)
    splits = {}
    for name in SETS:
        if settings.get(name):
            pictures = _pictures(files, path, settings, name, notes)
            tree = _tree(files, pictures, form, notes)
            splits["val" if name == "valid" else name] = {**tree, "categories": categories}
    if not splits:
        raise ValueError(f"{path} in {files.url} names no images: give it train: and val:")
    return splits


def _settings(files: Files, path: str) -> dict[str, Any]:
    if files.members[path].size > TEXT_BYTES:
        return {}
    try:
        tree = read_yaml(files.members[path].read())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} in {files.url} is not YAML: {' '.join(str(error).split())}") from error
    return tree if isinstance(tree, dict) else {}


def _form(settings: dict[str, Any], path: str) -> Form:
    """Check what data.yaml says of the labels.

    Raises:
        ValueError: kpt_shape, flip_idx, names or kpt_names are wrong or do not fit each other.
    """
    shape, flip, names = settings["kpt_shape"], settings.get("flip_idx"), settings.get("names", ["object"])
    whole = isinstance(shape, list) and [type(v) for v in shape] == [int, int]
    if not whole or not 1 <= shape[0] <= MAX_KEYPOINTS or shape[1] not in (2, 3):
        raise ValueError(
            f"{path}: kpt_shape is {shape!r:.60}; it must be [keypoints, 2] or [keypoints, 3], of 1 to {MAX_KEYPOINTS}"
        )
    count = shape[0]
    if flip is not None and (
        not isinstance(flip, list)
        or sorted(flip, key=repr) != sorted(range(count), key=repr)
        or any(flip[flip[k]] != k for k in range(count))
    ):
        raise ValueError(
            f"{path}: flip_idx is {flip!r:.80}; it must name for each of the {count} keypoints of kpt_shape the one "
            f"that takes its place in a mirrored image, and that one must name it in turn"
        )
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(numbered, dict) or not numbered or not all(type(key) is int for key in numbered):
        raise ValueError(f"{path}: names is {names!r:.60}; it must list the classes")
    labels = settings.get("kpt_names") or {}
    labels = dict.fromkeys(numbered, labels) if isinstance(labels, list) else labels
    for number, its in labels.items() if isinstance(labels, dict) else [("", labels)]:
        if not isinstance(its, list) or len(its) != count:
            raise ValueError(
                f"{path}: kpt_names of class {number} are {its!r:.60}; there must be {count}, as in kpt_shape"
            )
    return Form(
        names={number: str(name) for number, name in numbered.items()},
        keypoints=count,
        numbers=shape[1],
        flip=flip,
        labels={number: list(map(str, its)) for number, its in labels.items()},
    )


def _pictures(files: Files, yaml_path: str, settings: dict[str, Any], name: str, notes: list[str]) -> list[str]:
    """Paths of a set's images. data.yaml's paths are those of another machine: their last folders are looked for."""
    places = settings[name] if isinstance(settings[name], list) else [settings[name]]
    found: dict[str, None] = {}
    for place in places:
        if not isinstance(place, str):
            raise ValueError(f"{yaml_path}: {name} is {place!r:.60}; it must be a folder, a list of images, or several")
        at, pictures = _resolved(files, yaml_path, str(settings.get("path") or ""), place)
        if not pictures:
            raise FileNotFoundError(
                f"{yaml_path} names {place!r:.100} for {name}, and {files.url} holds no images there; give the folder "
                "that holds them beside data.yaml"
            )
        notes.append(f"{name}: {place!r:.100} of {yaml_path} is taken for {at}, {len(pictures):,} images")
        found |= dict.fromkeys(pictures)
    return list(found)


def _resolved(files: Files, yaml_path: str, root: str, place: str) -> tuple[str, list[str]]:
    """Where a path of data.yaml leads: its longest tail that is a folder with images or a list of them."""
    parts = [part for part in PurePosixPath(f"{root}/{place}".replace("\\", "/")).parts if part not in ("/", ".", "..")]
    home = yaml_path.split("/")[:-1]
    for start in range(len(parts)):
        for folder in ([*home, *parts[start:]], parts[start:]):
            at = "/".join(folder)
            if at.endswith(".txt") and at in files.members:
                listed = _text(files, at).splitlines()
                near = [files.picture(line.strip(), "/".join(folder[:-1]), "") for line in listed if line.strip()]
                return at, [path for path in near if path]
            pictures = [path for path in files.members if path.startswith(f"{at}/") and path.lower().endswith(PICTURES)]
            if pictures:
                return at, pictures
    return "", []


def _tree(files: Files, pictures: Sequence[str], form: Form, notes: list[str]) -> Tree:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    bare = 0
    for number, path in enumerate(pictures, 1):
        try:
            width, height = upright_size(files.members[path].read())
        except ValueError as error:
            raise ValueError(f"{path} in {files.url}: {error}") from error
        images.append({"id": number, "file_name": path, "width": width, "height": height})
        label = _label(files, path)
        if label is None:
            bare += 1
            continue
        for line, text in enumerate(_text(files, label).splitlines(), 1):
            if text.strip():
                person = _person(text, form, width, height, f"{label}, line {line}")
                annotations.append({**person, "id": len(annotations) + 1, "image_id": number})
    if bare == len(pictures):
        raise FileNotFoundError(
            f"{files.url} holds no labels of {pictures[0]}: labels/ must mirror images/, or the files lie beside"
        )
    if bare:
        notes.append(f"{bare:,} images have no file of labels: they show nobody")
    if form.numbers == 2:
        notes.append("labels have no visibility: a keypoint at 0 0 or below is not labelled, every other one visible")
    return {"images": images, "annotations": annotations}


def _label(files: Files, path: str) -> str | None:
    """The file of labels of an image: in `labels` where it is in `images`, or beside it."""
    stem = path.rpartition(".")[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    for place in ([f"{head}/labels/{tail}.txt"[1:]] if found else []) + [f"{stem}.txt"]:
        if place in files.members:
            return place
    return None


def _text(files: Files, path: str) -> str:
    if files.members[path].size > TEXT_BYTES:
        raise ValueError(f"{path} in {files.url} has {files.members[path].size:,} bytes; allowed are {TEXT_BYTES:,}")
    return files.members[path].read().decode("utf-8-sig", errors="replace")


def _person(text: str, form: Form, width: int, height: int, place: str) -> dict[str, Any]:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        raise ValueError(f"{place}: {text!r:.60} holds what is no number") from None
    wanted = 5 + form.keypoints * form.numbers
    if len(numbers) != wanted:
        raise ValueError(
            f"{place} has {len(numbers)} numbers; kpt_shape [{form.keypoints}, {form.numbers}] makes {wanted}: mend "
            "kpt_shape, or the labels"
        )
    number, (x, y, wide, high), rest = numbers[0], numbers[1:5], numbers[5:]
    if number not in form.names:
        raise ValueError(f"{place} is of class {number:g}; data.yaml names {', '.join(map(str, form.names))}")
    points: list[float] = []
    for k in range(0, len(rest), form.numbers):
        px, py = rest[k : k + 2]
        flag = rest[k + 2] if form.numbers == 3 else 2.0 * (px > 0 or py > 0)
        if not (math.isfinite(px) and math.isfinite(py) and math.isfinite(flag)):
            raise ValueError(f"{place} has a keypoint at {px}, {py} of visibility {flag}")
        points += [px * width, py * height, flag] if flag > 0 else [0, 0, 0]
        if flag > 0 and not (0 <= px <= 1 and 0 <= py <= 1):
            raise ValueError(f"{place} has a keypoint at {px}, {py}; labels are shares of the image, from 0 to 1")
    if not all(0 <= share <= 1 for share in (x, y, wide, high)):
        raise ValueError(f"{place} has the box {x}, {y}, {wide}, {high}; labels are shares of the image, from 0 to 1")
    box = [(x - wide / 2) * width, (y - high / 2) * height, wide * width, high * height]
    return {"category_id": int(number), "bbox": [round(v, 3) for v in box], "keypoints": [round(v, 3) for v in points]}
