"""Which engines run an exported network on this machine, how far they are apart, and which is the fastest."""

import importlib.util
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.geometry import input_size
from pipeline.serving.onnx_network import OnnxNetwork
from pipeline.serving.openvino_network import OpenVinoNetwork, capabilities

ENGINES = ("onnxruntime", "openvino", "openvino-bf16")
"""Their names; the first one is the default, and what the others are held against."""
ROUNDS = 7
FREE = 0.05
"""Differences up to this, in standard deviations of a map, speak against no engine."""
Engine = OnnxNetwork | OpenVinoNetwork
Floats = NDArray[np.float32]


def engine_named(content: bytes, engine: str, name: str = "the file", *, threads: int = 0) -> Engine:
    """A network run by one of `ENGINES`.

    Args:
        content: the exported file.
        engine: which.
        name: of the file, for error messages.
        threads: to compute with; 0: one for each core.

    Raises:
        ValueError: there is no such engine, this CPU does not compute so, or the file is no exported network.
        RuntimeError: the engine is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; allowed: {', '.join(ENGINES)}")
    if engine == "onnxruntime":
        return OnnxNetwork(content, name, threads=threads)
    return OpenVinoNetwork(content, name, precision="bf16" if engine.endswith("bf16") else "fp32", threads=threads)


def engines_here() -> list[str]:
    """Those that are installed and can compute on this CPU."""
    if not importlib.util.find_spec("openvino"):
        return [ENGINES[0]]
    return [name for name in ENGINES if not name.endswith("bf16") or "BF16" in capabilities()]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One engine on this machine."""

    milliseconds: float
    """Median time of one square image, by all cores."""
    apart: float
    """Mean difference of a map's values from those of the fp32 file in onnxruntime, as a share of their standard
    deviation; the larger one of heatmaps and tags."""


def measure(content: bytes, fp32: bytes, *, size: int | None = None, threads: int = 0) -> dict[str, Measured]:
    """Time every engine that is here, and see what it computes. They take turns, so a busy machine slows them alike.

    Args:
        content: an exported file.
        fp32: the file that it was quantised from, or itself.
        size: the image's side in pixels; None: the one it is made for.
        threads: to compute with; 0: one for each core.
    """
    exact = OnnxNetwork(fp32, threads=threads)
    side = size or exact.card.size
    width, height = input_size(side, side, side)
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    pixels = np.asarray(cv2.resize(noise, (width, height)))[None]
    wanted = exact.run(pixels)
    engines = {name: engine_named(content, name, threads=threads) for name in engines_here()}
    differences = {name: difference(engine.run(pixels), wanted) for name, engine in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            begun = time.perf_counter()
            engine.run(pixels)
            times[name].append(time.perf_counter() - begun)
    return {
        name: Measured(milliseconds=1000 * statistics.median(times[name]), apart=differences[name]) for name in engines
    }


def fastest(measured: Mapping[str, Measured]) -> str:
    """The name of the fastest engine, of those that are no further from fp32 than twice what onnxruntime is."""
    plain = measured[ENGINES[0]].apart
    near = {name: one.milliseconds for name, one in measured.items() if right(one.apart, plain)}
    return min(near, key=near.__getitem__)


def right(apart: float, plain: float) -> bool:
    """Whether an engine so far from fp32 computes the file, when onnxruntime's distance from fp32 is `plain`."""
    return apart <= max(2 * plain, FREE)


def difference(found: tuple[Floats, Floats], wanted: tuple[Floats, Floats]) -> float:
    """`Measured.apart` of heatmaps and tags."""
    return max(
        float(np.abs(mine - theirs).mean()) / max(float(theirs.std()), 1e-9)
        for mine, theirs in zip(found, wanted, strict=True)
    )
