"""How long a network takes for one image, on the machine that asks."""

import statistics
from dataclasses import dataclass

import numpy as np
import torch

from lhrnet.network import ModelConfig, create_model
from lhrnet.predictor import Predictor, Timings
from pipeline.evaluation.worker import device_name

WARM_UP = 3
MEASURED = 15


@dataclass(frozen=True, kw_only=True)
class NetworkLatency:
    """Time of the network for one image alone."""

    ms: float
    """Median, normalising and averaging of the two resolutions included."""
    device: str
    """What it was measured on."""


def network_latency(model: ModelConfig, *, size: int, threads: int, cuda: bool) -> NetworkLatency:
    """Measure a network by the stopwatch that evaluations use, with fresh weights: its shape alone counts.

    Grouping is left out: it depends on the people found, not on the network.

    Args:
        model: the network.
        size: the input's short side in pixels.
        threads: that a CPU computes with.
        cuda: whether it runs on the GPU.
    """
    device = "cuda" if cuda else "cpu"
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        predictor = Predictor(create_model(model), size, device=device, batch=1)
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        times_ms = []
        for _ in range(WARM_UP + MEASURED):
            predictor.timings = Timings()
            predictor(image)
            times_ms.append(1000 * predictor.timings.network)
        return NetworkLatency(ms=statistics.median(times_ms[WARM_UP:]), device=device_name(device, max(1, threads)))
    finally:
        torch.set_num_threads(before)
