"""The doctor's visit to the workers: the same checks from there, and one all-reduce over all of them."""

import os
import socket
import time
from datetime import timedelta
from typing import Any

from pipeline.runs.doctor import Finding, Needs, examine

ALL_REDUCE_MB = 16

EXAMINATION_S = 120.0
"""Seconds that an answer of a worker which is up may take; nodes have a patience of their own."""


def visit(needs: Needs, *, patience_s: float) -> list[Finding]:
    """Ask the cluster for the workers that the job will ask for, and examine them.

    Args:
        needs: what the job will need.
        patience_s: how long nodes may take to come; then `needs.min_workers` are enough.
    """
    import ray

    share = {"CPU": needs.cpus_per_worker}
    if needs.gpus_per_worker:
        share["GPU"] = needs.gpus_per_worker
    began = time.monotonic()
    member = ray.remote(_Member).options(num_cpus=needs.cpus_per_worker, num_gpus=needs.gpus_per_worker)
    members = [member.remote() for _ in range(needs.workers)]
    try:
        # one by one, not as a placement group: each that comes holds its node while the others are waited for
        calls = {one.here.remote(): one for one in members}
        here, _ = ray.wait(list(calls), num_returns=len(calls), timeout=patience_s)
        if len(here) < (needs.min_workers or needs.workers):
            return [_no_room(needs, share, patience_s, len(here), dict(ray.cluster_resources()))]
        ray.get(here)
        seconds = time.monotonic() - began
        fewer = "" if len(here) == needs.workers else f"; train.min_workers={needs.min_workers} lets the run go on"
        came = Finding(
            check="workers",
            where="workers",
            ok=True,
            says=f"{len(here)} of {needs.workers} with {share} were there after {seconds:.0f} s{fewer}",
        )
        present = [calls[call] for call in here]
        findings = [came, *ray.get(present[0].examine.remote(needs), timeout=EXAMINATION_S)]
        return [*findings, _together(present, needs)]
    except (ray.exceptions.RayError, TimeoutError) as error:
        return [_lost(error)]
    finally:
        for one in members:
            ray.kill(one)


def no_cluster(error: Exception) -> Finding:
    """The finding where there is no cluster to ask for workers."""
    return Finding(
        check="workers",
        where="driver",
        ok=False,
        says=f"no Ray cluster can be joined: {error}",
        mend="set RAY_ADDRESS to a cluster that runs, or unset it; --here leaves the workers out",
    )


def not_asked() -> Finding:
    """The finding where the driver found something wrong: nodes with GPUs are not started to find it again."""
    return Finding(
        check="workers",
        where="driver",
        ok=False,
        says="none were asked for, since the checks from here failed",
        mend="mend those first",
    )


def _together(members: list[Any], needs: Needs) -> Finding:
    import ray

    backend = "nccl" if needs.gpus_per_worker else "gloo"
    try:
        address = ray.get(members[0].address.remote(), timeout=EXAMINATION_S)
        jobs = [member.all_reduce.remote(backend, address, rank, len(members)) for rank, member in enumerate(members)]
        seconds = max(ray.get(jobs, timeout=EXAMINATION_S))
    except (ray.exceptions.RayError, TimeoutError) as error:
        return Finding(
            check="all-reduce",
            where="workers",
            ok=False,
            says=f"{backend} over {len(members)} workers: {str(error).strip().splitlines()[-1]}",
            mend="workers must reach each other on every port (NetworkPolicy ray); NCCL_DEBUG=INFO names the "
            "interface it took, NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME chooses another",
        )
    return Finding(
        check="all-reduce",
        where="workers",
        ok=True,
        says=f"{backend} over {len(members)} workers: {ALL_REDUCE_MB} MB in {seconds * 1000:.0f} ms",
    )


def _lost(error: Exception) -> Finding:
    return Finding(
        check="workers",
        where="workers",
        ok=False,
        says=f"a worker was lost while it was examined: {type(error).__name__}: {str(error).strip().splitlines()[-1]}",
        mend="see why it ended: kubectl describe pod (OOMKilled, evicted, a node that went), or a worker's log in "
        "Ray's dashboard",
    )


def _no_room(needs: Needs, share: dict[str, float], patience_s: float, came: int, there: dict[str, float]) -> Finding:
    has = {name: there.get(name, 0.0) for name in share}
    enough = f", at least {needs.min_workers}," if needs.min_workers else ""
    return Finding(
        check="workers",
        where="workers",
        ok=False,
        says=f"{needs.workers} workers{enough} of {share} each did not fit within {patience_s:.0f} s, {came} came; "
        f"the cluster has {has}",
        mend="ask for fewer by train.workers or evaluate.workers, raise the worker group's maxReplicas, or see why "
        "nodes do not come: kubectl describe pod, quota, spot capacity",
    )


class _Member:
    """One worker, in the place where a job's worker would be."""

    def here(self) -> None:
        """Answered once there is room for this worker."""

    def examine(self, needs: Needs) -> list[Finding]:
        return examine(needs, "worker")

    def address(self) -> str:
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def all_reduce(self, backend: str, address: str, rank: int, world: int) -> float:
        import torch
        from torch import distributed

        if backend == "nccl":
            os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
        distributed.init_process_group(
            backend, init_method=address, rank=rank, world_size=world, timeout=timedelta(seconds=60)
        )
        try:
            device = torch.device("cuda" if backend == "nccl" else "cpu")
            for _ in range(2):  # the first one also makes the connections
                tensor = torch.ones(ALL_REDUCE_MB * 250_000, device=device)
                began = time.monotonic()
                distributed.all_reduce(tensor)
                total = float(tensor[0].item())
                seconds = time.monotonic() - began
            if total != world:
                raise RuntimeError(f"ones of {world} workers add up to {total}")
            return seconds
        finally:
            distributed.destroy_process_group()
