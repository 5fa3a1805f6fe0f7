"""How many trials or workers a cluster has room for, so that none of them waits for what another holds.

A trial is a driver, which reserves next to nothing, and the workers of its training, which Ray places all or none. So
trials cannot hold workers from each other; what could stop them for ever is a cluster that never has room for one
trial's workers beside the drivers. That is what is reckoned here, before the start, for the worst places that the
drivers could take.

A head that takes no work, as on Kubernetes, is a cluster that may grow: how far, Ray does not say. There, what one node
of those present could hold is trusted to come, and `lhrnet doctor` is what holds the whole of it against the cluster.
"""

import heapq
import logging
from collections.abc import Mapping, Sequence
from typing import Final

DRIVER_CPUS: Final = 0.01
"""What a trial's driver reserves: it waits most of the time. Ray refuses none at all."""
TINY: Final = 1e-6

log = logging.getLogger(__name__)


def slots(
    nodes: Sequence[Mapping[str, float]], *, cpus: float, gpus: float, drivers: int = 0, each: float = DRIVER_CPUS
) -> int:
    """Workers that fit, with drivers wherever they take away most.

    Args:
        nodes: what each node has, e.g. `{"CPU": 16, "GPU": 1}`.
        cpus: of a worker; 0 needs some gpus.
        gpus: of a worker; Ray takes a share such as 0.5 from one GPU alone.
        drivers: how many drivers are there.
        each: CPUs of a driver.
    """
    whole = 0
    costs: list[float] = []  # drivers that it takes to cost a node its next worker
    for node in nodes:
        fits = []
        if cpus:
            fits.append(int((node.get("CPU", 0.0) + TINY) / cpus))
        if gpus:
            there = node.get("GPU", 0.0)
            fits.append(int(there + TINY) * int((1 + TINY) / gpus) if gpus < 1 else int((there + TINY) / gpus))
        fit = min(fits)
        if fit and cpus:
            slack = max(0.0, node.get("CPU", 0.0) - fit * cpus)
            costs += [int((slack + TINY) / each) + 1, *[cpus / each] * (fit - 1)]
        whole += fit
    heapq.heapify(costs)
    while costs and costs[0] <= drivers + TINY:
        drivers -= int(heapq.heappop(costs))
        whole -= 1
    return whole


def may_grow(nodes: Sequence[Mapping[str, float]], *, cpus: float, gpus: float) -> bool:
    """Whether more such workers may come than fit now: the head takes no work, and nodes that do are large enough."""
    workers = [node for node in nodes if node.get("CPU")]
    return len(workers) < len(nodes) and (not workers or slots(workers, cpus=cpus, gpus=gpus) > 0)


def cluster_nodes() -> list[Mapping[str, float]]:
    """What each node of the cluster has, those included that an autoscaler may still bring."""
    import ray
    from ray._private.state import state  # Ray Train asks the same of the autoscaler; there is no public way

    plan = state.get_cluster_config()
    groups = [(dict(group.resources), group.max_count) for group in plan.node_group_configs] if plan else []
    return with_growth([node["Resources"] for node in ray.nodes() if node["Alive"]], groups)


def with_growth(
    present: Sequence[Mapping[str, float]], groups: Sequence[tuple[Mapping[str, float], int]]
) -> list[Mapping[str, float]]:
    """The nodes of a cluster that grows by itself, once it has grown; of one that does not, those that are there.

    Args:
        present: what each node has that is there.
        groups: what a node of each group has, and how many the group may have.
    """
    grown: list[Mapping[str, float]] = [resources for resources, most in groups for _ in range(most)]
    more = sum(node.get("CPU", 0.0) for node in grown) > sum(node.get("CPU", 0.0) for node in present)
    return grown if more else list(present)


def trials_at_once(
    nodes: Sequence[Mapping[str, float]], *, workers: int, cpus: float, gpus: float, wanted: int = 0, trials: int = 1
) -> int:
    """How many trials run side by side: as many as there is room for, or on a cluster that may grow as are asked for.

    Args:
        nodes: what each node has.
        workers: of a trial.
        cpus: of a worker.
        gpus: of a worker.
        wanted: most that are asked for; 0: as many as there is room for, which is at least one where it may grow.
        trials: how many there are at all.

    Raises:
        ValueError: not even one fits, or fewer than are wanted; says the numbers.
    """
    room = 0
    while room < max(trials, wanted) and slots(nodes, cpus=cpus, gpus=gpus, drivers=room + 1) >= (room + 1) * workers:
        room += 1
    share = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
    at_least = min(max(1, wanted), trials)
    if room < at_least and may_grow(nodes, cpus=cpus, gpus=gpus):
        log.warning("there is room for %d trials: waiting for the cluster to bring that of %d", room, at_least)
        return at_least
    trial = f"a trial takes {workers} worker{'s' if workers > 1 else ''} of {share} and {DRIVER_CPUS:g} CPU for itself"
    if room == 0:
        raise ValueError(
            f"no trial fits: {trial}, and the cluster ({describe(nodes)}) has room for "
            f"{slots(nodes, cpus=cpus, gpus=gpus, drivers=1)} such workers beside it; set train.workers or "
            "train.cpus_per_worker lower, or add nodes"
        )
    if room < at_least:
        raise ValueError(
            f"search.max_concurrent is {wanted} and {room} fit at once: {trial}, and the cluster ({describe(nodes)}) "
            f"has room for {slots(nodes, cpus=cpus, gpus=gpus, drivers=at_least)} such workers beside {at_least} "
            f"trials; set it to {room} or to 0, or train.workers or train.cpus_per_worker lower"
        )
    return min(wanted or room, trials)


def describe(nodes: Sequence[Mapping[str, float]]) -> str:
    """Nodes in words: `8 nodes of 16 CPU and 1 GPU`."""
    if not nodes:
        return "no nodes"
    kinds: dict[str, int] = {}
    for node in nodes:
        gpus = node.get("GPU", 0.0)
        kind = f"{node.get('CPU', 0.0):g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{count} node{'s' if count > 1 else ''} of {kind}" for kind, count in kinds.items())
