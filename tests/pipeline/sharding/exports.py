"""Small data sets as annotation tools and publishers write them: the real layouts, with pictures drawn here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io

from lhrnet.coco import KEYPOINTS, SKELETON

WIDTH, HEIGHT = 96, 64
HORSE = ("nose", "left_ear", "right_ear", "withers", "tail")
HORSE_LIMBS = [[1, 2], [1, 3], [1, 4], [4, 5]]


@dataclass(frozen=True)
class Shot:
    """One picture with one annotated thing."""

    name: str
    points: np.ndarray[Any, np.dtype[np.float64]]
    """(K, 3) x, y, visibility."""

    @property
    def box(self) -> list[float]:
        """x, y, width, height, wider than the points."""
        shown = self.points[self.points[:, 2] > 0, :2]
        low, high = shown.min(0) - 3, shown.max(0) + 3
        return [*low.tolist(), *(high - low).tolist()]


def shots(names: Sequence[str], keypoints: int = len(HORSE), seed: int = 0) -> list[Shot]:
    """A picture for each name, with points somewhere in its middle; the second point of each is hidden."""
    random = np.random.default_rng(seed)
    made = []
    for name in names:
        places = random.uniform((8, 8), (WIDTH - 8, HEIGHT - 8), (keypoints, 2)).round(1)
        made.append(Shot(name, np.column_stack([places, np.where(np.arange(keypoints) == 1, 1, 2)])))
    return made


def draw(path: Path, shot: Shot, ending: str = ".jpg") -> None:
    """The picture of a shot: a dot at each point."""
    canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for k, (x, y, _) in enumerate(shot.points):
        cv2.circle(canvas, (int(x), int(y)), 2, (40 * (k % 6), 255 - 40 * (k % 6), 200), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(ending, canvas)[1].tobytes())


def horse(number: int = 1, **more: Any) -> dict[str, Any]:
    """The category."""
    return {
        "id": number,
        "name": "horse",
        "supercategory": "",
        "keypoints": list(HORSE),
        "skeleton": HORSE_LIMBS,
        **more,
    }


def tree(
    taken: Sequence[Shot], categories: Sequence[dict[str, Any]], number: int = 1, prefix: str = "", first: int = 1
) -> dict[str, Any]:
    """COCO's form: ids from `first` on, file names below `prefix`."""
    return {
        "images": [
            {"id": first + i, "file_name": prefix + shot.name, "width": WIDTH, "height": HEIGHT}
            for i, shot in enumerate(taken)
        ],
        "annotations": [
            {
                "id": first + i,
                "image_id": first + i,
                "category_id": number,
                "bbox": shot.box,
                "area": shot.box[2] * shot.box[3],
                "iscrowd": 0,
                "keypoints": shot.points.ravel().tolist(),
                "num_keypoints": len(shot.points),
            }
            for i, shot in enumerate(taken)
        ],
        "categories": list(categories),
    }


def put(path: Path, content: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def cvat(root: Path, taken: Sequence[Shot], subset: str = "default") -> Path:
    """CVAT's "COCO Keypoints 1.0": every label of the project is a category, pictures lie below images/SUBSET."""
    made = tree(taken, [horse(), {"id": 2, "name": "saddle", "supercategory": "", "keypoints": [], "skeleton": []}])
    saddle = {"id": 900, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    made["annotations"].append(
        {**saddle, "segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]], "attributes": {"occluded": False}}
    )
    put(root / "annotations" / f"person_keypoints_{subset}.json", made)
    for shot in taken:
        draw(root / "images" / subset / shot.name, shot)
    return root


def roboflow(root: Path, sets: Mapping[str, Sequence[Shot]]) -> Path:
    """Roboflow's "COCO": annotations among the pictures of each set, ids from 0 in each, a category above others."""
    for name, taken in sets.items():
        above = {"id": 0, "name": "horses", "supercategory": "none"}
        put(root / name / "_annotations.coco.json", tree(taken, [above, horse(supercategory="horses")], first=0))
        for shot in taken:
            draw(root / name / shot.name, shot)
    return root


def label_studio(root: Path, taken: Sequence[Shot]) -> Path:
    """Label Studio's COCO: names with a path of its own machine, no boxes, nulls for what it does not know."""
    made = tree(taken, [horse(0)], number=0, prefix="../../label-studio/data/media/upload/1/", first=0)
    for annotation in made["annotations"]:
        annotation |= {"bbox": [], "area": None, "iscrowd": None, "segmentation": []}
    put(root / "result.json", made)
    for shot in taken:
        draw(root / "images" / shot.name, shot)
    return root


def fiftyone(root: Path, taken: Sequence[Shot]) -> Path:
    """FiftyOne's COCO: labels.json beside data/, a category and points that were not labelled as NaN with 0."""
    made = tree(taken, [horse()])
    made["annotations"][0]["keypoints"][:3] = [float("nan"), float("nan"), 0]
    put(root / "labels.json", made)
    for shot in taken:
        draw(root / "data" / shot.name, shot)
    return root


def coco_annotator(root: Path, taken: Sequence[Shot]) -> Path:
    """coco-annotator's export: the server's paths, booleans, colours; its pictures are kept elsewhere."""
    made = tree(taken, [horse(7, color="#2c9bdb", keypoint_colors=["#bf5c4d"])], number=7)
    for image in made["images"]:
        image |= {"path": f"/datasets/horses/{image['file_name']}", "dataset_id": 3, "regenerate_thumbnail": False}
    for annotation in made["annotations"]:
        annotation |= {"iscrowd": False, "isbbox": False, "color": "#c1d12a", "metadata": {}}
    put(root / "horses-3.json", made)
    for shot in taken:
        draw(root / "horses" / shot.name, shot)
    return root


def yolo(
    root: Path, sets: Mapping[str, Sequence[Shot]], settings: str, *, numbers: int = 3, pattern: str = "{kind}/{set}"
) -> Path:
    """YOLO's folders: labels as shares of the picture, in a folder that mirrors the pictures'."""
    for name, taken in sets.items():
        for shot in taken:
            draw(root / pattern.format(kind="images", set=name) / shot.name, shot)
            x, y, wide, high = shot.box
            shares = shot.points / (WIDTH, HEIGHT, 1)
            line = [0, (x + wide / 2) / WIDTH, (y + high / 2) / HEIGHT, wide / WIDTH, high / HEIGHT]
            label = root / pattern.format(kind="labels", set=name) / f"{Path(shot.name).stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(
                " ".join(f"{v:.6f}" for v in (*line, *shares[:, :numbers].ravel())).removesuffix("\n") + "\n"
            )
    (root / "data.yaml").write_text(settings)
    return root


def lsp(root: Path, taken: Sequence[Shot], *, extended: bool) -> Path:
    """Leeds Sports Pose: joints.mat, in which the flag means labelled (extended set) or hidden (the original)."""
    joints = np.stack([shot.points for shot in taken])  # (N, 14, 3)
    if extended:
        stored = joints.transpose(1, 2, 0) * [[[1], [1], [0]]] + (joints[:, :, 2] == 2).T[:, None, :] * [
            [[0], [0], [1]]
        ]
    else:
        stored = joints.transpose(2, 1, 0).copy()
        stored[2] = joints[:, :, 2].T == 1
    root.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / "joints.mat", {"joints": stored})
    for number, shot in enumerate(taken, 1):
        draw(root / "images" / (f"im{number:05d}.jpg" if extended else f"im{number:04d}.jpg"), shot)
    return root


def person(**more: Any) -> dict[str, Any]:
    """COCO's category."""
    limbs = [[a + 1, b + 1] for a, b in SKELETON]
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(KEYPOINTS),
        "skeleton": limbs,
        **more,
    }
