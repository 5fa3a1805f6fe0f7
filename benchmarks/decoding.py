"""What rules of grouping are worth: AP of the reference scenes' people, of which the truth is known.

All but the first line are by the tests' plain parser, which has as settings what grouping has as constants.

The scenes are maps drawn from real annotations with noise, false peaks and missing joints. They are read from
LHRNET_GOLDEN (default ../shared/golden), and nothing is measured where that is not.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import MAX_DETECTIONS
from lhrnet.decoder.grouping import Groups, group
from lhrnet.metrics.coco_eval import score
from tests.reference.parser import REFERENCE, WITHOUT_QUIRKS

FOLDER = Path(os.environ.get("LHRNET_GOLDEN", Path(__file__).resolve().parent.parent / "../shared/golden"))
RULES: dict[str, Callable[[Any, Any], Groups]] = {
    "default": group,
    "the plain parser without quirks": WITHOUT_QUIRKS,
    "reference, every quirk": REFERENCE,
    "round_distance=False": dataclasses.replace(WITHOUT_QUIRKS, round_distance=False),
    "adjust=parabola": dataclasses.replace(WITHOUT_QUIRKS, adjust="parabola"),
    "adjust=none": dataclasses.replace(WITHOUT_QUIRKS, adjust="none"),
    "refine=False": dataclasses.replace(WITHOUT_QUIRKS, refine=False),
    "score_after_refine=True": dataclasses.replace(WITHOUT_QUIRKS, score_after_refine=True),
    "overflow=drop": dataclasses.replace(WITHOUT_QUIRKS, overflow="drop"),
    "ties=scipy": dataclasses.replace(WITHOUT_QUIRKS, ties="scipy"),
}


def run() -> list[dict[str, object]]:
    """Measure each rule beside the default."""
    if not FOLDER.is_dir():
        return []
    scenes = [np.load(FOLDER / case["file"]) for case in json.loads((FOLDER / "grouping" / "index.json").read_text())]
    scenes = [scene for scene in scenes if len(scene["gt"])]
    truth = _truth(scenes)
    aps = {name: score(truth, _found(scenes, parse)).ap for name, parse in RULES.items()}
    return [
        {"name": f"grouping, {name}", "median": ap, "unit": "AP", "ratio": ap / aps["default"],
         "notes": f"{len(scenes)} scenes, {len(truth['annotations'])} people, their extent for area"}
        for name, ap in aps.items()
    ]  # fmt: skip


def _truth(scenes: list[Any]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, scene in enumerate(scenes, 1):
        for joints in scene["gt"]:
            seen = joints[joints[:, 2] > 0, :2]
            if len(seen):
                low, size = 4 * seen.min(axis=0), 4 * (np.ptp(seen, axis=0) + 1)
                annotations.append({
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                    "area": float(np.prod(size)), "bbox": [*low.tolist(), *size.tolist()],
                    "num_keypoints": len(seen), "keypoints": _in_input(joints),
                })  # fmt: skip
    images = [{"id": number, "width": 1024, "height": 1024} for number in range(1, len(scenes) + 1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def _found(scenes: list[Any], parse: Callable[[Any, Any], Groups]) -> list[dict[str, Any]]:
    detections = []
    for image, scene in enumerate(scenes, 1):
        people = parse(scene["det"].astype(np.float32), scene["tag"].astype(np.float32))
        for number in np.argsort(-people.scores, kind="stable")[:MAX_DETECTIONS]:
            person = {"image_id": image, "category_id": 1, "score": float(people.scores[number])}
            detections.append({**person, "keypoints": _in_input(people.keypoints[number])})
    return detections


def _in_input(joints_K3: NDArray[np.floating[Any]]) -> list[float]:
    """Map pixels to the input's, where COCO's size classes mean something."""
    return [float(value) for value in (joints_K3 * np.array([4, 4, 1])).ravel()]
