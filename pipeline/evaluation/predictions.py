"""A checkpoint and a split of shards to people, over a cluster or in this process.

The work is divided into slices of shards, and Ray actors take the next slice whenever they are free. Not Ray Train:
there is nothing to synchronise, and a process group costs 15 s and fails with any one member. Not Ray Data: it would
need a second reader beside the one that verifies every shard, and moves images between processes only to batch them.
An actor loads the network once, is replaced when its node is lost, and only its slice is repeated.

Images are passed through the network in windows whose bounds depend on the index and the settings alone. So which
images share a batch, and with it every digit of the result, is the same whatever the number of workers.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lhrnet.predictor import Timings
from lhrnet.skeleton import check_same_keypoints
from pipeline.checkpoints.checkpoint import Checkpoint, build_network
from pipeline.cluster.capacity import cluster_nodes, describe, may_grow, slots
from pipeline.cluster.connect import connect_to_ray
from pipeline.data.index import ShardIndex
from pipeline.evaluation.detect import check_complete
from pipeline.evaluation.worker import EvaluateConfig, EvaluationTask, EvaluationWorker, ShardSlice, SliceResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Where the time of an image went, in milliseconds on one worker."""

    resize_ms: float
    network_ms: float
    """Normalising, the network, averaging over flips and scales."""
    decode_ms: float
    """Grouping, and the way back to image pixels."""
    device: str
    """What it was measured on, e.g. `NVIDIA H200` or `<processor>, 1 thread`; several are joined by ` + `, sorted."""
    batch: int

    @property
    def total_ms(self) -> float:
        """Network and decoding together, to which the gate's ceiling applies."""
        return self.network_ms + self.decode_ms


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The people found in a split."""

    detections: tuple[dict[str, Any], ...]
    """COCO results, at most 20 an image, by image id and descending score."""
    image_ids: tuple[int, ...]
    """Every image that was predicted, ascending."""
    latency: Latency
    pictures: Mapping[int, NDArray[np.uint8]]
    """(H, W, 3) RGB of the chosen images, by image id."""


def shard_slices(index: ShardIndex, *, window: int, workers: int) -> list[ShardSlice]:
    """A split as about three slices a worker or more, none across shards, all with bounds of windows."""
    per_shard = max(1, -(-3 * workers // len(index.shards)))
    slices = []
    for number, shard in enumerate(index.shards):
        windows = -(-shard.count // window)
        length = window * max(1, windows // per_shard)
        slices += [ShardSlice(number, at, min(at + length, shard.count)) for at in range(0, shard.count, length)]
    return slices


def evenly_spaced(image_ids: tuple[int, ...], count: int) -> tuple[int, ...]:
    """`count` image ids (or all there are), evenly spaced over the split in order of id."""
    ordered = sorted(image_ids)
    count = min(count, len(ordered))
    return tuple(ordered[i * len(ordered) // count] for i in range(count))


def predict_split(
    checkpoint: Checkpoint,
    url: str,
    index: ShardIndex,
    config: EvaluateConfig,
    *,
    progress: Callable[[int], object] | None = None,
) -> Predictions:
    """Find the people in every image of a split.

    Args:
        checkpoint: weights and the config that rebuilds their network.
        url: the split's folder of shards.
        index: the split's index.
        config: protocol and workers.
        progress: called with the number of images that were done since the last call.

    Raises:
        ValueError: the split has other keypoints than the checkpoint, the cluster is too small for a single worker, a
            shard is damaged, or there is no CUDA.
        RuntimeError: an image was not predicted exactly once, or a worker was lost more often than it is replaced.
    """
    check_same_keypoints(index.skeleton, url, checkpoint.model.keypoints, checkpoint.url or "the checkpoint")
    slices = shard_slices(index, window=config.window, workers=config.workers)
    wanted = frozenset(evenly_spaced(index.image_ids, config.pictures))
    task = EvaluationTask(checkpoint, url, index, config, wanted)
    run = _over_cluster if config.workers else _in_process
    results = []
    for result in run(task, slices):
        results.append(result)
        if progress is not None:
            progress(len(result.found.image_ids))
    check_complete([i for result in results for i in result.found.image_ids], index.image_ids, url)
    detections = [person for result in results for person in result.found.people]
    pictures = {i: image for result in results for i, image in result.pictures.items()}
    return Predictions(
        detections=tuple(sorted(detections, key=lambda d: (d["image_id"], -d["score"]))),
        image_ids=tuple(sorted(index.image_ids)),
        latency=_latency([result.timings for result in results], {result.device for result in results}, config.batch),
        pictures=dict(sorted(pictures.items())),
    )


def _in_process(task: EvaluationTask, slices: list[ShardSlice]) -> Iterator[SliceResult]:
    threads = torch.get_num_threads()
    try:
        worker = EvaluationWorker(task)
        yield from (worker.run(part) for part in slices)
    finally:
        torch.set_num_threads(threads)


def _over_cluster(task: EvaluationTask, slices: list[ShardSlice]) -> Iterator[SliceResult]:
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    config = task.config
    build_network(task.checkpoint)  # weights that do not fit are reported here, before a worker fails with them
    connect_to_ray(otherwise="set evaluate.workers=0 to work in this process")
    count = min(workers_that_fit(config, cluster_nodes()), len(slices))
    actor = ray.remote(
        num_cpus=config.cpus_per_worker, num_gpus=config.gpus_per_worker, max_restarts=3, max_task_retries=3
    )(EvaluationWorker)
    shared = ray.put(task)
    workers = [actor.remote(shared) for _ in range(count)]
    waiting = iter(slices)
    try:
        # no slice waits for a worker that an autoscaler has yet to find a place for
        running = {worker.__ray_ready__.remote(): worker for worker in workers}
        left = len(slices)
        while left:
            (ready,), _ = ray.wait(list(running), num_returns=1)
            worker = running.pop(ready)
            done = ray.get(ready)
            with contextlib.suppress(StopIteration):
                running[worker.run.remote(next(waiting))] = worker
            if isinstance(done, SliceResult):
                left -= 1
                yield done
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, ValueError | OSError) else error from error
    except RayActorError as error:
        if error.actor_init_failed:
            raise ValueError(f"a worker could not start: {str(error).strip().splitlines()[-1]}") from error
        raise RuntimeError(f"a worker was lost more than three times: {error}") from error
    finally:
        for worker in workers:
            ray.kill(worker)


def workers_that_fit(config: EvaluateConfig, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many of the configured workers the cluster has room for. Their number changes nothing but the time."""
    cpus, gpus = config.cpus_per_worker, config.gpus_per_worker
    room = min(config.workers, slots(nodes, cpus=cpus, gpus=gpus)) if cpus or gpus else config.workers
    if room < config.workers and may_grow(nodes, cpus=cpus, gpus=gpus):
        log.warning(
            "there is room for %d of %d workers of %g CPU and %g GPU: the others work as the cluster brings them",
            *(room, config.workers, cpus, gpus),
        )
        return config.workers
    if room < 1:
        raise ValueError(
            f"a worker of {cpus:g} CPU and {gpus:g} GPU does not fit the cluster ({describe(nodes)}): set "
            "evaluate.cpus_per_worker or evaluate.gpus_per_worker lower, or evaluate.workers=0 to work in this process"
        )
    return room


def _latency(parts: list[Timings], devices: set[str], batch: int) -> Latency:
    images = max(1, sum(part.images for part in parts))

    def each(seconds: Iterator[float]) -> float:
        return 1000 * sum(seconds) / images

    return Latency(
        resize_ms=each(part.resize for part in parts),
        network_ms=each(part.network for part in parts),
        decode_ms=each(part.decode for part in parts),
        device=" + ".join(sorted(devices)),
        batch=batch,
    )
