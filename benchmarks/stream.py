"""Images a second on one core at 448 pixels: the bare loop of decode and warp, which is the limit, and the stream.

Every way of reading is measured in rounds that take turns with the bare loop, in a process bound to one core; the
store runs on the others. Real COCO images where COCO_MINI (default ../shared/data/coco-mini) is, drawn ones elsewhere.
"""

import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

SIZE, BATCH, LANES, WINDOW = 448, 16, 4, 64
IMAGES, PER_SHARD = 1024, 64
ROUNDS, BATCHES = 7, 16
REFERENCE = 139
"""Images a second of HigherHRNet's pipeline on one core of the same machine (as the project's notes give it)."""
FOLDER = Path(os.environ.get("COCO_MINI", Path(__file__).resolve().parent.parent / "../shared/data/coco-mini"))


def run() -> list[dict[str, Any]]:
    """Measure; takes about two minutes and 400 MB of disk."""
    from infra.stack import Stack
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.write import write_split
    from pipeline.storage import store

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        what = _source(folder / "coco")
        (plan,) = make_plans(str(folder / "coco"), str(folder / "shards"), ["train2017"], per_shard=PER_SHARD)
        write_split(plan)
        local = folder / "shards" / "train2017"
        stack = Stack(folder / "stack")
        before = dict(os.environ)
        try:
            stack.start(["s3"], guarded=True)
            os.environ.update(stack.env)
            remote = "s3://lhrnet/benchmark/train2017"
            for path in local.iterdir():
                store.put_file(path, f"{remote}/{path.name}")
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                rates = pool.submit(rounds, str(local), remote, str(folder / "cache")).result()
                memory = pool.submit(worker_memory, remote).result()
        finally:
            stack.stop(patience_s=0)
            os.environ.clear()
            os.environ.update(before)
    return _rows(rates, what) + memory


def _rows(rates: dict[str, list[float]], what: str) -> list[dict[str, Any]]:
    rows = []
    for name, values in rates.items():
        shares = [value / bare for value, bare in zip(values, rates["bare decode + warp"], strict=True)]
        rate = statistics.median(values)
        rows.append(
            {
                "name": f"{name}, {SIZE} px, one core",
                "median": round(rate),
                "unit": "images/s",
                "ratio": round(statistics.median(shares), 3),
                "notes": f"share of the bare loop; {rate / REFERENCE:.1f} times the field's 139; {what}",
            }
        )
    return rows


def rounds(local: str, remote: str, cache: str) -> dict[str, list[float]]:
    """Images a second of each way, round by round; the ways take turns, so that all see the same machine."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ways: dict[str, Callable[[], float]] = {"bare decode + warp": _bare(local)}
    for name, url, options in (
        ("stream from a folder", local, {}),
        ("stream from S3", remote, {}),
        ("stream from S3, cached", remote, {"cache": cache}),
    ):
        ways[name] = _streamed(url, options)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(way())
    return rates


def _bare(url: str) -> Callable[[], float]:
    """Decode and warp from memory, with the maps that training draws: no files, no order, no joints, no masks."""
    import cv2

    from lhrnet import geometry
    from lhrnet.image_file import decode
    from pipeline.data.augment import AugmentConfig, draw_matrix
    from pipeline.data.index import read_index

    cv2.setNumThreads(0)
    raws = itertools.cycle(list(_raw(url, read_index(url))))
    maps = iter(itertools.count())

    def way() -> float:
        import numpy as np

        begun = time.perf_counter()
        for raw in itertools.islice(raws, BATCH * BATCHES):
            chance = np.random.default_rng([0, 0, next(maps)])
            matrix, _ = draw_matrix(chance, raw.width, raw.height, SIZE, AugmentConfig())
            geometry.warp(decode(raw.jpeg, (raw.width, raw.height)), matrix, (SIZE, SIZE))
        return BATCH * BATCHES / (time.perf_counter() - begun)

    return way


def _raw(url: str, index: Any) -> Iterator[Any]:
    from pipeline.data.reader import open_shard, read_shard

    for shard in index.shards[:8]:
        yield from read_shard(open_shard(url, shard), shard.name, shard.image_ids)


def _streamed(url: str, options: dict[str, Any]) -> Callable[[], float]:
    batches = _stream(url, 0, options).batches()
    for _ in range(IMAGES // BATCH):
        next(batches)

    def way() -> float:
        begun = time.perf_counter()
        for _ in range(BATCHES):
            next(batches)
        return BATCH * BATCHES / (time.perf_counter() - begun)

    return way


def _stream(url: str, loaders: int, options: dict[str, Any]) -> Any:
    from pipeline.data.augment import AugmentConfig
    from pipeline.data.stream import StreamConfig, TrainStream

    config = StreamConfig(lanes=LANES, loader_workers=loaders, window=WINDOW, images="all", **options)
    return TrainStream(
        url, stream=config, augment=AugmentConfig(), size=SIZE, global_batch=BATCH, rank=0, world=1, seed=0
    )


def worker_memory(url: str) -> list[dict[str, Any]]:
    """Memory that a loader worker has to itself, over six epochs after two in which it grows to its size."""
    import psutil

    batches = _stream(url, 1, {}).batches()
    steps = IMAGES // BATCH
    own: list[float] = []
    for step in range(steps * 8):
        next(batches)
        if step == 0:
            (worker,) = psutil.Process().children()
        if step >= steps * 2 and step % 8 == 0:
            own.append(worker.memory_full_info().uss / 1e6)
    batches.close()
    third = len(own) // 3
    first, last = statistics.median(own[:third]), statistics.median(own[-third:])
    notes = f"median of epochs 3 and 4; of epochs 7 and 8: {last:.0f} MB, greatest {max(own):.0f} MB"
    return [{"name": "memory of a loader worker, S3", "median": round(first), "unit": "MB", "notes": notes}]


def _source(folder: Path) -> str:
    """A folder in COCO's layout with enough images: the real ones under several ids each, or drawn ones."""
    if not FOLDER.is_dir():
        from pipeline.scenes.synthetic import SceneConfig, write_coco

        write_coco(folder, train=IMAGES, val=0, config=SceneConfig(size=480))
        return "drawn images"
    tree: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for split in ("train2017", "val2017"):
        part = json.loads((FOLDER / "annotations" / f"person_keypoints_{split}.json").read_text())
        part["images"] = [{**image, "split": split} for image in part["images"]]
        for key in ("images", "annotations"):
            tree[key] += part[key]
        tree["categories"] = part["categories"]
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    chosen = list(itertools.islice(itertools.cycle(tree["images"]), IMAGES))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(chosen, 1):
        path = (FOLDER / image["split"] / image["file_name"]).resolve()
        (folder / "train2017" / f"{number:012d}.jpg").symlink_to(path)
        images.append({**image, "id": number, "file_name": f"{number:012d}.jpg"})
        own = [a for a in tree["annotations"] if a["image_id"] == image["id"]]
        annotations += [{**a, "id": len(annotations) + i, "image_id": number} for i, a in enumerate(own)]
    document = {"images": images, "annotations": annotations, "categories": tree["categories"]}
    (folder / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(document))
    return "COCO images"
