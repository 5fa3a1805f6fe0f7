"""Grouping on one thread: maps of 1 to 30 people to people, with adjusting and refining, beside its plain form."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import median_ms
from lhrnet.coco import K
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.decoder.enlarged import Enlarged, Floats
from lhrnet.decoder.grouping import GroupingConfig, group, group_batch
from lhrnet.decoder.peaks import find_peaks

REFERENCE_MS = {
    112: {1: 12, 5: 20, 10: 15, 20: 27, 30: 89},
    224: {1: 37, 5: 52, 10: 65, 20: 64, 30: 137},
}
"""The reference code's whole parse, by map size and people, on another machine's thread."""
REPEATS = 15


def run() -> list[dict[str, object]]:
    """Measure the parse at the reference's sizes, its parts, and eight images by several threads."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        return [row for size in REFERENCE_MS for people in REFERENCE_MS[size] for row in _rows(size, people)] + [
            _pool_row(workers) for workers in (1, 2)
        ]
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


def _rows(size: int, people: int) -> list[dict[str, object]]:
    heat, tags = scene(size, people)
    reference = REFERENCE_MS[size][people]
    took = median_ms(lambda: group(heat, tags), REPEATS)
    name = f"grouping {size} px, {people} people"
    rows: list[dict[str, object]] = [
        {"name": name, "median": took, "unit": "ms", "ratio": reference / took,
         "notes": f"times as fast as the reference code's {reference} ms"},
    ]  # fmt: skip
    if people == 30:
        bare = GroupingConfig(refine=False)
        plain = median_ms(lambda: (_plain_peaks(heat), _plain_refine(heat, tags, group(heat, tags, bare).tags)), 3)
        maps, tag_maps = Enlarged(heat), Enlarged(np.ascontiguousarray(tags[..., 0]))
        peaks = median_ms(lambda: find_peaks(maps, tag_maps, kernel=5, threshold=0.1, count=30), REPEATS)
        flipped = np.moveaxis(np.stack([tags[..., 0], tags[..., 0] + _noise(tags.shape[:3])], axis=1), 1, -1)
        both = median_ms(lambda: group(heat, flipped), REPEATS)
        heat_BKhw, tags_BKThw = torch.from_numpy(heat)[None], torch.from_numpy(tags).movedim(-1, 1).contiguous()[None]
        device_form = median_ms(lambda: group_on_device(heat_BKhw, tags_BKThw), 5)
        rows += [
            {"name": f"{name}, flip test", "median": both, "unit": "ms", "ratio": reference / both,
             "notes": "with two tags a pixel; times as fast as the reference code's time above"},
            {"name": f"{name}, plain", "median": plain, "unit": "ms", "ratio": plain / took,
             "notes": "max pooling, a full top-k, and every pixel looked at for every person"},
            {"name": f"{name}, torch form", "median": device_form, "unit": "ms", "ratio": device_form / took,
             "notes": "the form for GPUs, here on the CPU; times as long as the numpy form"},
            {"name": f"{name}, peaks alone", "median": peaks, "unit": "ms", "notes": "non-maximum suppression, top 30"},
        ]  # fmt: skip
    return rows


def _noise(shape: tuple[int, ...]) -> Floats:
    return np.asarray(0.1 * np.random.default_rng(1).standard_normal(shape), np.float32)


def _pool_row(workers: int) -> dict[str, object]:
    scenes = [scene(224, 10, seed) for seed in range(8)]
    heats, tags = [s[0] for s in scenes], [s[1] for s in scenes]
    with ThreadPoolExecutor(workers) as pool:
        took = median_ms(lambda: group_batch(heats, tags, pool=pool), 5) / len(scenes)
    name = f"grouping 224 px, 10 people, {workers} thread{'s' * (workers > 1)}"
    return {"name": name, "median": took, "unit": "ms", "notes": "an image, of eight at a time"}


def scene(size: int, people: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Maps (17, size, size) and (17, size, size, 1) of people in a grid, a fifth of their joints hidden, with noise."""
    random = np.random.default_rng(seed)
    cells = int(np.ceil(np.sqrt(people)))
    corners = np.stack(np.divmod(np.arange(people), cells)[::-1], axis=-1)[:, None] * (size / cells)
    joints = corners + random.uniform(0, size / cells, (people, K, 2))
    ys, xs = np.mgrid[:size, :size] + 0.5
    heat = np.zeros((K, size, size))
    tags = np.zeros((K, size, size))
    nearest = np.full((K, size, size), np.inf)
    for person in range(people):
        for k, (x, y) in enumerate(joints[person]):
            square = (xs - x) ** 2 + (ys - y) ** 2
            if random.uniform() < 0.8:
                heat[k] = np.maximum(heat[k], random.uniform(0.5, 1) * np.exp(-square / 8))
            tags[k][square < nearest[k]] = 3 * person
            np.minimum(nearest[k], square, out=nearest[k])
    heat += 0.01 * random.standard_normal(heat.shape)
    tags += 0.1 * random.standard_normal(tags.shape)
    return heat.astype(np.float32), tags.astype(np.float32)[..., None]


def _plain_peaks(heat: Floats) -> torch.Tensor:
    maps = torch.from_numpy(heat)
    highest = torch.nn.functional.max_pool2d(maps, 5, 1, 2)
    return torch.topk((maps * (maps == highest)).flatten(1), 30).values


def _plain_refine(heat: Floats, tags: Floats, means_PT: Floats) -> NDArray[np.int64]:
    distance = (((tags[None, ..., 0] - mean) ** 2) ** 0.5 for mean in means_PT[:, 0])
    return np.stack([(heat - np.round(apart[0])).reshape(K, -1).argmax(axis=1) for apart in distance])
