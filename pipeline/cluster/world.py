"""Who trains: this worker's place among all, as a value instead of global look-ups."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

CPU = torch.device("cpu")
CONTROL_TIMEOUT = timedelta(minutes=30)
"""Longest that workers wait for each other between steps, validation included."""


@dataclass(frozen=True, kw_only=True)
class World:
    """One worker among `size`."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    control: dist.ProcessGroup | None = None
    """A gloo group for small messages beside the gradients; None where a worker is alone."""
    gradients: dist.ProcessGroup | None = None
    """The group that gradients are averaged over; None: all processes."""

    @classmethod
    def of_process_group(cls, device: torch.device, *, size: int | None = None) -> "World":
        """The world of the process group that is set up, or of its first `size` ranks. Every rank must call this."""
        everyone = dist.get_world_size()
        size = size or everyone
        ranks = list(range(size))
        return cls(
            rank=dist.get_rank(),
            size=size,
            device=device,
            control=dist.new_group(ranks, backend="gloo", timeout=CONTROL_TIMEOUT),
            gradients=dist.new_group(ranks) if size < everyone else None,
        )

    @property
    def spare(self) -> bool:
        """Whether this worker has no part in the work."""
        return self.rank >= self.size

    @property
    def first(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value by rank on the first worker, an empty list on the others. A collective."""
        if self.control is None:
            return [value]
        values: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, values, dst=0, group=self.control)
        return values or []

    def from_first(self, value: Any) -> Any:
        """The first worker's value, on every worker. A collective."""
        if self.control is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]


class Vote:
    """Asks all workers at every step whether to stop, without waiting: the answer comes with the next step's vote."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._flag = torch.zeros(1, dtype=torch.uint8)
        self._work: dist.Work | None = None

    def cast(self, flag: bool) -> bool:
        """Give this step's vote; whether any worker's last one was yes. The same answer on all."""
        if self._world.control is None:
            return flag
        if self._work is not None:
            self._work.wait()
        agreed = bool(self._flag.item())
        self._flag.fill_(flag or agreed)
        self._work = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, group=self._world.control, async_op=True)
        return agreed
