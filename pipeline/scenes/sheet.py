"""A sheet of drawn scenes with their keypoints, to see at a glance what a set is like."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.casting import subject_of
from pipeline.scenes.drawing import draw_scene
from pipeline.scenes.scene_config import SceneConfig

Image = NDArray[np.uint8]

_COLUMNS: Final = 4
_TILE: Final = 384
"""Pixels of a scene's long side on the sheet."""


def sheet(config: SceneConfig, skeleton: str, *, scenes: int = 12, seed: int = 0) -> Image:
    """The first training scenes of a drawn set, annotated, in rows of four; (H, W, 3) uint8 RGB.

    A filled circle is a keypoint that shows, a ring one that is hidden; a yellow box holds somebody who is annotated
    without keypoints.
    """
    tiles = []
    for index in range(scenes):
        image, annotations = draw_scene((seed, 0, index), config, skeleton)
        tile = np.zeros((_TILE, _TILE, 3), np.uint8)
        scale = _TILE / max(image.shape[:2])
        seen = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        tile[: seen.shape[0], : seen.shape[1]] = seen
        for annotation in annotations:
            _annotate(tile, annotation, subject_of(skeleton).skeleton.limbs, scale)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-scenes % _COLUMNS)
    rows = [np.concatenate(tiles[i : i + _COLUMNS], 1) for i in range(0, len(tiles), _COLUMNS)]
    return np.concatenate(rows, 0)


def write_sheet(folder: Path, config: SceneConfig, skeleton: str, *, seed: int = 0) -> Path:
    """Write the sheet of the set that would be drawn into a folder, as FOLDER.jpg beside it; returns that.

    Raises:
        ValueError: nothing is drawn for that skeleton.
        OSError: the file cannot be written.
    """
    written, data = cv2.imencode(".jpg", sheet(config, skeleton, seed=seed)[..., ::-1])
    if not written:
        raise RuntimeError("OpenCV could not encode the sheet as JPEG")
    path = folder.with_name(f"{folder.name}.jpg")
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(data.tobytes())
    return aside.replace(path)


def _annotate(tile: Image, annotation: dict[str, Any], limbs: Sequence[tuple[int, int]], scale: float) -> None:
    points = np.reshape(annotation["keypoints"], (-1, 3)) * (scale, scale, 1)
    if not annotation["num_keypoints"]:
        x, y, b, c = (round(v * scale) for v in annotation["bbox"])
        cv2.rectangle(tile, (x, y), (x + b, y + c), (255, 255, 0), 1)
        return
    at = [(int(x), int(y)) for x, y, _ in points]
    for a, b in limbs:
        if points[a, 2] and points[b, 2]:
            cv2.line(tile, at[a], at[b], (255, 255, 255), 1, cv2.LINE_AA)
    for k, v in enumerate(points[:, 2]):
        red, green, blue = (255 * c for c in colorsys.hsv_to_rgb(k / len(at), 1, 1))
        if v:
            cv2.circle(tile, at[k], 3, (red, green, blue) if v == 2 else (0, 0, 0), -1 if v == 2 else 1, cv2.LINE_AA)
