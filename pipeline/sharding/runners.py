"""Where shard tasks run: on a Ray cluster, or on this machine's cores. The bytes are the same either way."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from pipeline.cluster.connect import connect_to_ray
from pipeline.sharding.task import ShardResult, ShardTask, make_shard
from pipeline.sharding.write import Runner, serial


def choose(*, ray: bool | None, workers: int) -> Runner:
    """Choose where shard tasks run.

    Args:
        ray: run as Ray tasks; None: inside a Ray job, where RAY_ADDRESS names the cluster (not its job server).
        workers: tasks at a time; 0: one per core. On Ray at most as many as the cluster has CPUs.

    Raises:
        ValueError: a negative number of workers.
    """
    if workers < 0:
        raise ValueError(f"workers is {workers}; allowed: 0 (one a core) or more")
    address = os.environ.get("RAY_ADDRESS", "")
    if ray or (ray is None and address and not address.startswith("http")):
        return lambda tasks: over_ray(tasks, workers)
    count = workers or os.cpu_count() or 1
    return (lambda tasks: over_processes(tasks, count)) if count > 1 else serial


def over_processes(tasks: Sequence[ShardTask], workers: int) -> Iterator[tuple[int, ShardResult]]:
    """On this machine's cores, in spawned processes."""
    if len(tasks) < 2:
        yield from serial(tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        futures = {pool.submit(make_shard, task): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def over_ray(tasks: Sequence[ShardTask], workers: int) -> Iterator[tuple[int, ShardResult]]:
    """As Ray tasks of one CPU each. Few more are submitted than can run, so that the driver needs little memory.

    Raises:
        ConnectionError: no cluster answers.
        RuntimeError: a worker died or its node was lost, in each of several tries.
    """
    import ray

    connect_to_ray(otherwise="give --no-ray", start=False)
    remote = ray.remote(num_cpus=1, max_retries=3)(make_shard)
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Any, int] = {}
    while waiting or running:
        # asked each time: waiting tasks make an autoscaling cluster grow, and a grown cluster takes more of them
        at_once = workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < at_once:
            number, task = waiting.pop()
            running[remote.remote(task)] = number
        ended, _ = ray.wait(list(running), num_returns=1)
        for reference in ended:
            try:
                yield running.pop(reference), ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise RuntimeError(f"a worker was lost, each time it was tried ({reason}); run again") from error
