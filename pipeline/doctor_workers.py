"""The doctor's visit to the workers: the same checks from there, and one all-reduce over all of them."""

import os
import socket
import time
from datetime import timedelta
from typing import Any

from pipeline.doctor import Finding, Needs, examine

ALL_REDUCE_MB = 16


def visit(needs: Needs, *, patience_s: float) -> list[Finding]:
    """Ask the cluster for the workers that the job will ask for, and examine them.

    Args:
        needs: what the job will need.
        patience_s: how long nodes may take to come.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    share = {"CPU": needs.cpus_per_worker}
    if needs.gpus_per_worker:
        share["GPU"] = needs.gpus_per_worker
    began = time.monotonic()
    group = placement_group([share] * needs.workers, strategy="PACK")
    try:
        if not group.wait(patience_s):
            return [_no_room(needs, share, patience_s, dict(ray.cluster_resources()))]
        came = Finding(
            check="workers",
            where="workers",
            ok=True,
            says=f"{needs.workers} of {share} were there after {time.monotonic() - began:.0f} s",
        )
        members = [
            ray.remote(_Member)
            .options(
                num_cpus=needs.cpus_per_worker,
                num_gpus=needs.gpus_per_worker,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
            )
            .remote()
            for rank in range(needs.workers)
        ]
        findings = [came, *ray.get(members[0].examine.remote(needs), timeout=patience_s)]
        return [*findings, _together(members, needs, patience_s)]
    finally:
        remove_placement_group(group)


def _together(members: list[Any], needs: Needs, patience_s: float) -> Finding:
    import ray

    backend = "nccl" if needs.gpus_per_worker else "gloo"
    try:
        address = ray.get(members[0].address.remote(), timeout=patience_s)
        jobs = [member.all_reduce.remote(backend, address, rank, len(members)) for rank, member in enumerate(members)]
        seconds = max(ray.get(jobs, timeout=120))
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


def _no_room(needs: Needs, share: dict[str, float], patience_s: float, there: dict[str, float]) -> Finding:
    has = {name: there.get(name, 0.0) for name in share}
    return Finding(
        check="workers",
        where="workers",
        ok=False,
        says=f"{needs.workers} workers of {share} each did not fit within {patience_s:.0f} s; the cluster has {has}",
        mend="ask for fewer by train.workers or evaluate.workers, raise the worker group's maxReplicas, or see why "
        "nodes do not come: kubectl describe pod, quota, spot capacity",
    )


class _Member:
    """One worker, in the place where a job's worker would be."""

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
