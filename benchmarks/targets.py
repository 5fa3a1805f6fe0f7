"""Rendering a batch's targets on one thread, batch 16: heatmaps beside a loop over people, tag indices, the mask."""

import math

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import median_ms
from lhrnet.coco import MAX_PEOPLE, K
from lhrnet.losses.targets import CENTRES, render_heatmaps, tag_indices

BATCH = 16
SIGMA = 2


def run() -> list[dict[str, object]]:
    """Measure heatmaps and tag indices for few and many people at 1/4 and 1/2 of a 448 pixel input."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for size in (112, 224) for people in (3, 30) for row in _rows(size, people)]
    finally:
        torch.set_num_threads(threads)


def _rows(size: int, people: int) -> list[dict[str, object]]:
    joints, shape = _joints(people, size), (size, size)
    case = f"{size} px, {people} people"
    looped = median_ms(lambda: _loop(joints.numpy(), size), 3)
    rows: list[dict[str, object]] = []
    for centre in CENTRES:
        took = median_ms(lambda centre=centre: render_heatmaps(joints, shape, SIGMA, centre))  # type: ignore[misc]
        name, ratio = f"heatmaps {case}, {centre}", looped / took
        rows.append({"name": name, "median": took, "unit": "ms", "ratio": ratio, "notes": "times as fast as the loop"})
    rows.append({"name": f"heatmaps {case}, as a loop", "median": looped, "unit": "ms", "notes": "numpy, floor"})
    took = median_ms(lambda: tag_indices(joints, shape))
    return [*rows, {"name": f"tag indices {case}", "median": took, "unit": "ms"}]


def _joints(people: int, size: int) -> Tensor:
    joints = torch.zeros(BATCH, MAX_PEOPLE, K, 3)
    joints[:, :people, :, :2] = torch.rand(BATCH, people, K, 2, generator=torch.Generator().manual_seed(0)) * size
    joints[:, :people, :, 2] = 2
    return joints


def _loop(joints_BPK3: np.ndarray, size: int) -> np.ndarray:
    """One window pasted after another, as one would write it on the host."""
    reach = 3 * SIGMA + 1
    steps = np.arange(-reach, reach + 1)
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * SIGMA**2)).astype(np.float32)
    heat = np.zeros((len(joints_BPK3), K, size, size), dtype=np.float32)
    for image, people in enumerate(joints_BPK3):
        for person in people:
            for joint, (x, y, visible) in enumerate(person):
                if visible > 0:
                    column, row = math.floor(x) - reach, math.floor(y) - reach
                    left, top = max(column, 0), max(row, 0)
                    right, bottom = min(column + len(window), size), min(row + len(window), size)
                    place = heat[image, joint, top:bottom, left:right]
                    np.maximum(place, window[top - row : bottom - row, left - column : right - column], out=place)
    return heat
