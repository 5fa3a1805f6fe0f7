"""Scenes of several articulated people or hands with exact annotations in COCO's form, drawn from a seed.

A scene is a pure function of (seed, SceneConfig); a folder is a pure function of (seed, counts, SceneConfig), byte for
byte, whatever the number of processes that draw it. What the annotations hold: keypoints with v = 2 where the pixel
shows the joint, v = 1 where something covers it, zeros where it lies outside the image or on the far side of the head;
boxes, areas and polygons of the pixels that show the object. Some scenes hold a crowd region, objects too small to be
labelled, or nobody, so that whatever reads COCO meets them here too.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2

from lhrnet.coco import PERSON
from lhrnet.skeleton import COCO
from lhrnet.skeleton.infer import category_of
from pipeline.scenes.casting import subject_of
from pipeline.scenes.drawing import Annotation, draw_scene
from pipeline.scenes.scene_config import HARD, SceneConfig
from pipeline.storage.atomic import aside_folder

__all__ = ["HARD", "SceneConfig", "draw_scene", "is_drawn", "write_coco"]

SPLITS: Final = ("train", "val", "test")
_FIRST_ID: Final = {"train": 1, "val": 1_000_001, "test": 2_000_001}
_CHUNK: Final = 32
_VERSION: Final = "1"
"""Of the drawing; raise it when the same seed gives other pictures than before."""


_LATER: Final = ("depth", "crossing", "blur", "lighting")
"""Settings that came after the first drawn sets: at 0 they are left out, and those sets are still known as drawn."""


def write_coco(
    folder: str | Path,
    *,
    train: int,
    val: int,
    test: int = 0,
    seed: int = 0,
    config: SceneConfig | None = None,
    skeleton: str = COCO.name,
    workers: int | None = None,
    on_drawn: Callable[[int], None] | None = None,
) -> Path:
    """Draw a data set in COCO's layout; the folder appears complete or not at all.

    `annotations/person_keypoints_{train,val}2017.json`, `annotations/image_info_test-dev2017.json` (without
    annotations, as COCO's) and `{train,val,test}2017/*.jpg`.

    Args:
        folder: where to; must not exist yet.
        train, val, test: images in each split.
        seed: the folder is a function of seed, counts, config and skeleton.
        skeleton: name of the built-in skeleton whose objects are drawn.
        workers: processes that draw; None: one a core.
        on_drawn: called with the number of images just finished.

    Raises:
        ValueError: a negative count, or a skeleton that is not drawn.
        FileExistsError: the folder exists.
    """
    folder, config = Path(folder), config or SceneConfig()
    subject_of(skeleton)
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    for split, count in counts.items():
        if not 0 <= count < 1_000_000:
            raise ValueError(f"{split}={count}: give a number of images from 0 to 999999")
    if folder.exists():
        raise FileExistsError(f"{folder} exists: remove it, or draw into another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with aside_folder(folder) as partial_folder:
        for split in SPLITS:
            (partial_folder / f"{split}2017").mkdir()
        (partial_folder / "annotations").mkdir()
        tasks = [
            (split, start, min(start + _CHUNK, count))
            for split, count in counts.items()
            for start in range(0, count, _CHUNK)
        ]
        drawn: dict[str, list[tuple[dict[str, Any], list[Annotation]]]] = {split: [] for split in SPLITS}
        for (split, start, stop), chunk in zip(
            tasks, _run(tasks, partial_folder, seed, config, skeleton, workers), strict=True
        ):
            drawn[split] += chunk
            if on_drawn:
                on_drawn(stop - start)
        for split in SPLITS:
            text = json.dumps(_document(split, drawn[split], seed, config, skeleton), separators=(",", ":"))
            _write(_annotations(partial_folder, split), text.encode())
        partial_folder.rename(folder)
    return folder


def is_drawn(
    folder: str | Path,
    *,
    train: int,
    val: int,
    test: int = 0,
    seed: int = 0,
    config: SceneConfig | None = None,
    skeleton: str = COCO.name,
) -> bool:
    """Whether a folder holds what `write_coco` would draw there with the same arguments."""
    wanted = {"train": train, "val": val, "test": test}
    for split, count in wanted.items():
        path = _annotations(Path(folder), split)
        if not path.is_file():
            return False
        document = json.loads(path.read_text())
        if len(document["images"]) != count or document["info"] != _info(split, seed, config or SceneConfig()):
            return False
        if document["categories"] != [_category(skeleton)]:
            return False
    return True


def _annotations(folder: Path, split: str) -> Path:
    name = "image_info_test-dev2017" if split == "test" else f"person_keypoints_{split}2017"
    return folder / "annotations" / f"{name}.json"


def _run(
    tasks: list[tuple[str, int, int]],
    folder: Path,
    seed: int,
    config: SceneConfig,
    skeleton: str,
    workers: int | None,
) -> Iterator[list[tuple[dict[str, Any], list[Annotation]]]]:
    draw = partial(_draw_chunk, folder=folder, seed=seed, config=config, skeleton=skeleton)
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        yield from map(draw, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw, tasks)


def _draw_chunk(
    task: tuple[str, int, int], *, folder: Path, seed: int, config: SceneConfig, skeleton: str
) -> list[tuple[dict[str, Any], list[Annotation]]]:
    """Draw some images of a split and write their files; returns (image entry, annotations) of each."""
    split, start, stop = task
    drawn = []
    for index in range(start, stop):
        picture, annotations = draw_scene((seed, SPLITS.index(split), index), config, skeleton)
        identity = _FIRST_ID[split] + index
        name = f"{identity:012d}.jpg"
        written, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, config.quality])
        if not written:
            raise RuntimeError(f"OpenCV could not encode {name} as JPEG")
        _write(folder / f"{split}2017" / name, data.tobytes())
        h, w = picture.shape[:2]
        drawn.append(({"id": identity, "file_name": name, "width": w, "height": h, "license": 1}, annotations))
    return drawn


def _category(skeleton: str) -> dict[str, Any]:
    entry = category_of(subject_of(skeleton).skeleton, PERSON)
    return {"id": entry["id"], "name": entry["name"], "supercategory": entry["name"], **entry}


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:  # that of a full disk comes without a name
        error.filename = str(path)
        raise


def _info(split: str, seed: int, config: SceneConfig) -> dict[str, Any]:
    return {
        "description": "Drawn scenes of Lightweight HRNet",
        "version": _VERSION,
        "split": split,
        "seed": seed,
        "scene": {key: value for key, value in asdict(config).items() if value or key not in _LATER},
    }


def _document(
    split: str, drawn: list[tuple[dict[str, Any], list[Annotation]]], seed: int, config: SceneConfig, skeleton: str
) -> dict[str, Any]:
    """A COCO document; the test split's has no annotations."""
    document: dict[str, Any] = {
        "info": _info(split, seed, config),
        "licenses": [{"id": 1, "name": "MIT", "url": ""}],
        "images": [entry for entry, _ in drawn],
        "categories": [_category(skeleton)],
    }
    if split != "test":
        numbered = ((entry["id"], a) for entry, annotations in drawn for a in annotations)
        document["annotations"] = [
            {"id": _FIRST_ID[split] + i, "image_id": image_id, **annotation}
            for i, (image_id, annotation) in enumerate(numbered)
        ]
    return document
