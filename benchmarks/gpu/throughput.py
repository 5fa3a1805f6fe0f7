"""Images a second of a whole training step from a batch on the device, and its share of the card's matrix rate.

Operations are counted as 6 a multiply-accumulate of the profile (forward, and twice that backward). A step is the
trainer's own: normalising, forward, targets and losses, backward, clipping, the update, the moving average.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.gpu.card import matmul_rate
from benchmarks.gpu.limit import Limit, synchronise, time_calls
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.work import new_stepper, noise_batch, peak_memory
from benchmarks.gpu.worker import clear
from lhrnet.losses.pose_loss import pose_loss
from lhrnet.network import ModelConfig, profile
from pipeline.data.stream import Batch
from pipeline.training.stepper import Stepper

LIGHT = "lightweight-hrnet"


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str = LIGHT
    r: int = -2
    side: int = 448
    batch: int = 64
    way: str = "eager"
    """eager; compiled: by torch.compile; reduce-overhead: its mode that replays CUDA graphs; graph: an eager step
    recorded once and replayed whole."""
    exchange: str = "folded"
    tuned: bool = False
    """Whether cuDNN tries its algorithms out."""
    layout: bool = True
    """Whether memory is in channels_last order."""

    @property
    def model(self) -> ModelConfig:
        """Its network."""
        return ModelConfig(name=self.name, r=self.r, exchange=self.exchange, input_size=self.side)  # type: ignore[arg-type]


CASES = (
    Case(),
    Case(r=0, side=512),
    Case(r=-1, side=480),
    Case("efficienthrnet-h-2"),
    Case("higherhrnet-w32", side=512, batch=32),
    Case(exchange="plain"),
    Case(tuned=True),
    Case(batch=24),
    Case(batch=96),
    Case(layout=False),
    Case(way="compiled"),
    Case(way="graph"),
    Case(r=0, side=512, way="graph"),
    Case(side=512),
    Case(r=0, side=512, batch=96),
    Case(r=0, side=512, way="compiled"),
    Case(way="reduce-overhead"),
    Case(batch=24, way="graph"),
    Case("higherhrnet-w32", side=512, batch=32, way="compiled"),
    Case("efficienthrnet-h-2", way="compiled"),
)
SMALL = (Case(r=-4, side=64, batch=2), Case(r=-4, side=64, batch=2, exchange="plain", layout=False))

COMPILING = 240.0
"""Seconds that a compiled case must have left to be begun."""


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """One row a case, as many as there is time for."""
    ceiling = matmul_rate(setup)
    for case in SMALL if setup.small else CASES:
        compiled = case.way in ("compiled", "reduce-overhead")
        if limit.left < (COMPILING if compiled else 3.0):
            put(**_named(case), note="left out: no time")
            continue
        try:
            measure(case, setup, ceiling, put)
        except Exception as error:
            traceback.print_exc()
            put(**_named(case), note=f"failed: {type(error).__name__}: {str(error)[:200]}")
        torch.backends.cudnn.benchmark = False
        if not clear(setup.device):
            raise RuntimeError("the device no longer works in this process")


def measure(case: Case, setup: Setup, ceiling: float, put: Put) -> None:
    """Time one case."""
    peak_memory(setup.device)
    torch.backends.cudnn.benchmark = case.tuned
    begun = time.perf_counter()
    stepper = new_stepper(
        case.model, setup, batch=case.batch, channels_last=case.layout, compile=case.way == "compiled"
    )
    if case.way == "reduce-overhead":
        stepper.network.compile(mode="reduce-overhead")
    batch = noise_batch(case.batch, case.side, setup.device)
    step = recorded(stepper, batch) if case.way == "graph" else lambda: stepper.step(batch, 0)
    step()
    synchronise(setup.device)
    first = time.perf_counter() - begun
    timing = time_calls(step, setup.device, seconds=2.0, most=60)
    stepper.stopwatch.take()
    rate = case.batch / timing.median * 1000
    share = 6 * profile(case.model).macs * rate / ceiling
    put(
        **_named(case),
        images_s=rate,
        ms=timing.median,
        ms_p10=timing.low,
        ms_p90=timing.high,
        share_of_peak=share,
        memory_GiB=peak_memory(setup.device),
        first_step_s=first,
        note="" if torch.isfinite(stepper.counters.sums).all() else "the loss is not finite",
    )


def _named(case: Case) -> dict[str, object]:
    name = f"r={case.r}" if case.name == LIGHT else case.name
    way = case.way + ("" if case.layout else ", NCHW") + (", cudnn.benchmark" if case.tuned else "")
    exchange = case.exchange if case.name == LIGHT else ""
    return {"network": name, "input": case.side, "batch": case.batch, "way": way, "exchange": exchange}


def recorded(stepper: Stepper, batch: Batch) -> Callable[[], None]:
    """Forward, backward, clipping and update as one CUDA graph: what is left when the host launches nothing."""
    optimiser = stepper.optimiser
    for group in optimiser.param_groups:
        group["capturable"] = True

    def work() -> None:
        images = stepper._prepare(batch.images)
        # weights cast within a recording must not come from a cache that outlives it
        with torch.autocast(stepper.world.device.type, dtype=torch.bfloat16, cache_enabled=False):
            outputs = stepper.parallel(images)
        pose_loss(outputs, batch.joints, batch.mask, stepper.loss).total.backward()  # type: ignore[no-untyped-call]
        optimiser.found_inf = (~stepper._clip().isfinite()).float()
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
