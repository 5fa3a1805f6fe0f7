"""The card, what is installed beside it, and its two ceilings: matrix products and copies."""

import os
import platform

import torch

from benchmarks.gpu.limit import Limit, time_calls
from benchmarks.gpu.parts import Put, Setup


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """Say what this machine is and how fast its card is at best."""
    device = setup.device
    gpu = device.type == "cuda"
    put(
        card=torch.cuda.get_device_name(device) if gpu else platform.processor() or "cpu",
        memory_GiB=round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1) if gpu else None,
        cards=torch.cuda.device_count(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    )
    put(what="bf16 matrix product", TFLOP_s=matmul_rate(setup) / 1e12)
    put(what="copy within the card, read and written", GB_s=_copy_rate(setup) / 1e9)


def matmul_rate(setup: Setup) -> float:
    """Operations a second of a large bf16 matrix product of random numbers: the card's ceiling in practice."""
    side = 256 if setup.small else 8192
    one, other = (torch.randn(side, side, device=setup.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / time_calls(lambda: one @ other, setup.device, seconds=0.5).median * 1000


def _copy_rate(setup: Setup) -> float:
    source = torch.randn(2**20 if setup.small else 2**29, device=setup.device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return moved / time_calls(lambda: target.copy_(source), setup.device, seconds=0.5).median * 1000
