"""Draws training samples: augmented inputs with skeletons, heatmaps and the ignore mask."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lhrnet.draw import draw_heatmaps, draw_people
from lhrnet.losses.targets import render_heatmaps
from lhrnet.person import Person
from lhrnet.skeleton import COCO, Skeleton
from pipeline.data.augment import AugmentConfig, TrainingSample, prepare
from pipeline.data.index import Images, ShardIndex, read_index
from pipeline.data.reader import RawSample
from pipeline.data.samples import read_raw_images
from pipeline.storage import store


def draw_samples(
    url: str,
    out: Path,
    *,
    count: int = 8,
    size: int = 448,
    augment: AugmentConfig,
    images: Images = "labelled",
    seed: int = 0,
) -> list[Path]:
    """Draw each of the first `count` images as training sees it: skeletons beside heatmaps, ignored regions in red.

    Args:
        url: the split's folder.
        out: folder of the pictures, named by image id.
        count: pictures.
        size: side of the network's input.
        augment: the changes, which are those of training's first epoch with this seed.
        images: which images are taken.
        seed: of the changes.

    Raises:
        ValueError: a wrong setting, or a damaged shard.
        FileNotFoundError: no index, or a missing shard.
        OSError: a picture cannot be written.
    """
    if count < 1 or size < 4 or size % 4:
        raise ValueError(f"count is {count} and size {size}; allowed: 1 or more, and a multiple of 4")
    out.mkdir(parents=True, exist_ok=True)
    written, index = [], read_index(url)
    for raw in _first(url, index, count, images):
        key = (seed, 0, raw.image_id)
        ready = prepare(
            raw.jpeg,
            raw.ignore_png,
            raw.annotations,
            index.skeleton,
            width=raw.width,
            height=raw.height,
            size=size,
            config=augment,
            key=key,
        )
        written.append(out / f"{raw.image_id:012d}.png")
        png = cv2.imencode(".png", cv2.cvtColor(draw_sample(ready, index.skeleton), cv2.COLOR_RGB2BGR))[1]
        store.write_bytes(str(written[-1]), png.tobytes())
    return written


def draw_sample(ready: TrainingSample, skeleton: Skeleton = COCO) -> NDArray[np.uint8]:
    """One sample as (S, 2 S, 3) RGB: skeletons on the left, heatmaps on the right."""
    size = ready.image.shape[0]
    ignored = cv2.resize(ready.mask, (size, size), interpolation=cv2.INTER_NEAREST) == 0
    tinted = ready.image.copy()
    tinted[ignored] = tinted[ignored] // 2 + np.array([110, 0, 0], np.uint8)
    people = [
        Person(keypoints=np.column_stack([joints[:, :2], joints[:, 2] > 0]).astype(np.float32), score=1.0)
        for joints in ready.joints
        if joints[:, 2].any()
    ]
    skeletons = draw_people(tinted, people, skeleton, scale=1, scores=False)
    half = torch.from_numpy(ready.joints[None] * np.array([0.5, 0.5, 1], np.float32))
    heat = render_heatmaps(half, (size // 2, size // 2))[0].numpy()
    return np.hstack([skeletons, draw_heatmaps(ready.image, heat, skeleton)])


def _first(url: str, index: ShardIndex, count: int, images: Images) -> Iterator[RawSample]:
    chosen = [image_id for shard in index.shards for image_id in shard.chosen(images)]
    return read_raw_images(url, index.shards, set(chosen[:count]), index.skeleton.count)
