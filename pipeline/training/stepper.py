"""One training step: passes over micro-batches, one averaged gradient, one update or none, no wait for the device.

A step whose gradient is not finite is skipped on all workers together: the gradient is averaged over them before it is
looked at, so all see the same. The fused optimisers skip by a flag on the device; batch-norm statistics, which the
bad forward pass has spoilt, are put back.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lhrnet.losses.pose_loss import LossConfig, Losses, pose_loss
from lhrnet.normalise import normalise
from pipeline.cluster.world import World
from pipeline.data.stream import Batch
from pipeline.training.optimiser import MovingAverage, OptimConfig, create_optimiser, learning_rate, set_learning_rate
from pipeline.training.step_plan import StepPlan, TrainConfig
from pipeline.training.stopwatch import Stopwatch

ROWS = ("loss", "loss_heatmap", "loss_pull", "loss_push", "grad_norm", "skipped")

_NO_BUFFER_SYNC: Final[dict[str, Any]] = {
    # torch 2.11 knows it by its old name only
    "forward_sync_buffers"
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else "broadcast_buffers": False
}
"""Workers keep their own batch-norm statistics."""


class HopelessError(RuntimeError):
    """Training cannot go on, and workers that begin anew at the last checkpoint would end the same way."""


@dataclass(kw_only=True)
class Counters:
    """Sums since they were last taken, on the device: no step waits for them."""

    sums: Tensor
    """One for each of ROWS, over the steps that were not skipped; skipped steps in the last."""
    streak: Tensor
    """Skipped steps in a row, up to the last step."""
    longest: Tensor
    """The longest such streak since the sums were last taken: it may have ended before anybody looks."""
    steps: int = 0


class Stepper:
    """A network and what trains it.

    Args:
        network: with its weights, on the device.
        train, optim, loss: the settings.
        plan: of the run.
        world: this worker's place.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        train: TrainConfig,
        optim: OptimConfig,
        loss: LossConfig,
        plan: StepPlan,
        world: World,
    ) -> None:
        self.train, self.optim, self.loss, self.plan, self.world = train, optim, loss, plan, world
        if train.sync_batchnorm and world.size > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network, world.gradients)  # type: ignore[no-untyped-call]
        if train.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(network, train.freeze)
        self.network: nn.Module = network
        self.statistics = gathered_statistics(network)
        self.kept = self.statistics.clone()
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.average = MovingAverage(network, optim.ema_decay) if optim.ema_decay else None
        self.optimiser: Any = create_optimiser(self.parameters, optim)
        self.losses: Callable[..., Losses] = pose_loss
        if train.compile:
            network.compile()
            self.losses = torch.compile(pose_loss, fullgraph=True)
        self.stopwatch = Stopwatch(world.device)
        self.parallel: nn.Module = network
        if world.size > 1:
            self.parallel = DistributedDataParallel(
                network, process_group=world.gradients, gradient_as_bucket_view=True, **_NO_BUFFER_SYNC
            )
            self.stopwatch.watch(self.parallel)
        sums, none = torch.zeros(len(ROWS), device=world.device), torch.zeros((), device=world.device)
        self.counters = Counters(sums=sums, streak=none, longest=none)
        self._skipped = 0

    def keep_statistics(self) -> None:
        """Take the present batch-norm statistics for those of the last good step."""
        self.kept.copy_(self.statistics)

    @property
    def skipped(self) -> int:
        """Steps left out so far, those of earlier attempts included. Waits for the device."""
        return self._skipped + int(self.counters.sums[-1].item())

    def skips(self) -> dict[str, int]:
        """What a resumed run must know of skipped steps. Waits for the device."""
        return {"skipped_steps": self.skipped, "skipped_in_a_row": int(self.counters.streak.item())}

    def restore_skips(self, saved: Mapping[str, Any]) -> None:
        """Count on from what `skips` told."""
        self._skipped = saved["skipped_steps"]
        self.counters.streak = torch.full_like(self.counters.streak, saved.get("skipped_in_a_row", 0))

    def step(self, batch: Batch, number: int) -> None:
        """Train on one rank's part of global batch `number`, counted from 0."""
        set_learning_rate(self.optimiser, learning_rate(number, self.plan.total, self.optim))
        self.stopwatch.start()
        parts = self._backward(batch)
        self.stopwatch.backward_done()
        norm = self._clip()
        finite = norm.isfinite()  # the same on every worker, which a worker's own loss is not
        self.optimiser.found_inf = (~finite).float()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=self.world.size == 1)
        with torch.no_grad():
            torch.where(finite, self.statistics, self.kept, out=self.kept)
            self.statistics.copy_(self.kept)
            if self.average:
                self.average.update()
            self._count(parts, norm, finite)
        self.stopwatch.stop()

    def _backward(self, batch: Batch) -> Tensor:
        """Accumulate the gradient; the losses of the whole part, averaged."""
        share = len(batch.images)
        total = torch.zeros(4, device=self.world.device)
        for number in range(self.plan.passes):
            piece = slice(number, None, self.plan.passes)
            images = batch.images[piece]
            weight = len(images) / share
            with self._without_exchange(last=number == self.plan.passes - 1):
                with self._autocast():
                    outputs = self.parallel(self._prepare(images))
                losses = self.losses(outputs, batch.joints[piece], batch.mask[piece], self.loss)
                (losses.total * weight).backward()  # type: ignore[no-untyped-call]
            total += torch.stack([part.detach() for part in losses]) * weight
        return total

    def _prepare(self, images: Tensor) -> Tensor:
        inputs = normalise(images)
        return inputs.contiguous(memory_format=torch.channels_last) if self.train.channels_last else inputs.contiguous()

    def _without_exchange(self, *, last: bool) -> AbstractContextManager[Any]:
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.train.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.world.device.type, dtype=torch.bfloat16)

    def _clip(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=True)
        if self.optim.grad_clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.optim.grad_clip, norm, foreach=True)
        return norm

    def _count(self, parts: Tensor, norm: Tensor, finite: Tensor) -> None:
        row = torch.cat([parts, norm[None], torch.zeros(1, device=norm.device)])
        bad = torch.zeros_like(row)
        bad[-1:].fill_(1)  # an assignment would copy the number from the host and wait for it
        self.counters.sums += torch.where(finite, row, bad)
        self.counters.streak = torch.where(finite, 0.0, self.counters.streak + 1)
        self.counters.longest = torch.maximum(self.counters.longest, self.counters.streak)
        self.counters.steps += 1

    def take_rows(self) -> dict[str, float]:
        """Means of the steps since the last call, by name; of skipped steps alone, no means. Waits for the device.

        Raises:
            HopelessError: too many steps in a row were not finite, or the network was to be compiled and is not.
        """
        counters = self.counters
        sums, longest = counters.sums.tolist(), int(counters.longest.item())
        skipped = int(sums[-1])
        self._skipped += skipped
        good = counters.steps - skipped
        counters.sums, counters.steps = torch.zeros_like(counters.sums), 0
        counters.longest = counters.streak
        if longest >= self.train.max_nonfinite:
            raise HopelessError(
                f"{longest} steps in a row had a gradient that is not finite: lower optim.lr, set optim.grad_clip, or "
                "try train.precision=fp32; the last checkpoint is from before"
            )
        if self.train.compile:
            check_compiled()
        rows = {name: value / good for name, value in zip(ROWS[:-1], sums[:-1], strict=True)} if good else {}
        return {**rows, "skipped_steps": float(self._skipped)}


def gathered_statistics(network: nn.Module) -> Tensor:
    """Lay all floating-point buffers of a network side by side in one tensor, of which they become parts.

    Returns:
        (N,) the tensor: what is written to it is written to the buffers, by one operation instead of hundreds.
    """
    places = [
        (module, name, buffer)
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.dtype == torch.float32
    ]
    whole = torch.cat([buffer.flatten() for _, _, buffer in places]) if places else torch.zeros(0)
    for (module, name, buffer), part in zip(places, torch.split(whole, [b.numel() for *_, b in places]), strict=True):
        module._buffers[name] = part.view_as(buffer)
    return whole


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep parameters whose names begin with a prefix as they are, and their batch norms' statistics too.

    Raises:
        ValueError: a prefix fits no parameter.
    """
    for prefix in prefixes:
        found = [parameter for name, parameter in network.named_parameters() if name.startswith(prefix)]
        if not found:
            tops = sorted({name.split(".")[0] for name, _ in network.named_parameters()})
            raise ValueError(
                f"train.freeze: no parameter's name begins with {prefix!r}; they begin with {', '.join(tops)}"
            )
        for parameter in found:
            parameter.requires_grad_(False)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.requires_grad:
            module.eval()


def check_compiled() -> None:
    """Refuse to go on uncompiled where compiling was asked for."""
    from torch._dynamo.utils import counters

    if not counters["stats"].get("unique_graphs"):
        raise HopelessError(
            "train.compile is set but torch.compile compiled nothing; set train.compile=false to go without"
        )


def timed(batches: Any, stopwatch: Stopwatch) -> Any:
    """The same batches, the time spent waiting for each noted."""
    iterator = iter(batches)
    while True:
        begun = time.perf_counter()
        batch = next(iterator)
        stopwatch.waited(time.perf_counter() - begun)
        yield batch
