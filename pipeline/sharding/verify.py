"""Read every byte of a split's shards again and compare it with the index and the ground truth."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from lhrnet.image_file import decode
from pipeline.data.decode import check_whole, decode_ignored
from pipeline.data.index import INDEX, TRUTH, Shard, ShardIndex, read_index, truth
from pipeline.data.reader import RawSample
from pipeline.data.samples import read_raw_images
from pipeline.storage import store


@dataclass(frozen=True)
class Verification:
    """The result of a verification."""

    url: str
    index: ShardIndex
    faults: tuple[str, ...]
    """Empty: every byte is as it was written."""


def verify(url: str, *, workers: int = 2, done: Callable[[int], None] = lambda images: None) -> Verification:
    """Read a split again.

    Args:
        url: the split's folder.
        workers: shards read at once.
        done: called with the number of images of each shard that was read.

    Raises:
        FileNotFoundError, ValueError: there is no index, or it is damaged, and so nothing to compare with.
        PermissionError, ConnectionError: the store cannot be read.
    """
    index = read_index(url)
    faults, by_image = _truth_faults(url, index)
    if store.scheme(url) in ("file", "s3"):
        known = {INDEX, TRUTH, *(shard.name for shard in index.shards)}
        faults += [f"{store.join(url, name)} is in no index" for name in store.listing(url) if name not in known]
    with ThreadPoolExecutor(workers) as pool:
        checks = {
            pool.submit(_shard_faults, url, shard, by_image, index.skeleton.count): shard for shard in index.shards
        }
        try:
            for check in as_completed(checks):
                faults += check.result()
                done(checks[check].count)
        finally:  # else, with the store down or after Ctrl-C, each shard in the queue would wait for its own time-outs
            pool.shutdown(wait=False, cancel_futures=True)
    return Verification(url, index, tuple(sorted(faults)))


def _truth_faults(url: str, index: ShardIndex) -> tuple[list[str], dict[int, dict[str, Any]] | None]:
    """Faults, and the ground truth of each image; None where it cannot be read."""
    try:
        tree = truth(url, index)
    except (FileNotFoundError, ValueError) as error:
        return [str(error)], None
    try:
        by_image = {image["id"]: {**image, "annotations": []} for image in tree["images"]}
        for annotation in tree["annotations"]:
            by_image[annotation["image_id"]]["annotations"].append(annotation)
    except (KeyError, TypeError) as error:
        return [f"{store.join(url, TRUTH)} is damaged: an image or annotation lacks or garbles {error}"], None
    if set(by_image) != set(index.image_ids):
        return [f"{store.join(url, TRUTH)} has other images than the index"], by_image
    return [], by_image


def _shard_faults(url: str, shard: Shard, by_image: dict[int, dict[str, Any]] | None, keypoints: int) -> list[str]:
    place = store.join(url, shard.name)
    faults: list[str] = []
    try:
        counted = zip(shard.annotations, shard.keypoints, strict=True)
        for raw, counts in zip(read_raw_images(url, [shard], set(shard.image_ids), keypoints), counted, strict=True):
            faults += [f"{place}: image {raw.image_id}: {fault}" for fault in _sample_faults(raw, counts)]
            if expected := (by_image or {}).get(raw.image_id):
                faults += [f"{place}: image {raw.image_id}: {fault}" for fault in _differences(raw, expected)]
    except (ValueError, FileNotFoundError) as error:
        faults.append(str(error))
    return faults


def _differences(raw: RawSample, expected: dict[str, Any]) -> Iterator[str]:
    if list(raw.annotations) != expected["annotations"]:
        yield f"its annotations are not those of {TRUTH}"
    for key in ("file_name", "width", "height"):
        if getattr(raw, key) != expected.get(key):
            yield f"its {key} is {getattr(raw, key)!r} and that of {TRUTH} {expected.get(key)!r}"


def _sample_faults(raw: RawSample, counts: tuple[int, int]) -> Iterator[str]:
    try:
        check_whole(raw.jpeg)
        decode(raw.jpeg, (raw.width, raw.height))
        if raw.ignore_png is not None:
            decode_ignored(raw.ignore_png, raw.width, raw.height)
    except ValueError as error:
        yield str(error)
    keypoints = sum(a["num_keypoints"] for a in raw.annotations if not a["iscrowd"])
    if (len(raw.annotations), keypoints) != counts:
        yield f"it has {len(raw.annotations)} annotations and {keypoints} keypoints; the index says {counts}"
