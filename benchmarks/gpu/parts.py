"""The parts in the order in which they are done, most telling first, and how they share the time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.limit import Limit

Put = Callable[..., None]
"""Takes a row's values by name and writes them down."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every part is told."""

    device: torch.device
    data: Path
    """Where `scenes` draws its shards."""
    small: bool
    """A smoke run: the least of everything, to see that it works."""


Run = Callable[[Setup, Limit, Put], None]


@dataclass(frozen=True)
class Part:
    """One part."""

    name: str
    """Of its module."""
    weight: float
    """Its share of the time is this over the sum of its own and those that follow."""
    title: str


PARTS = (
    Part("card", 5, "The card"),
    Part("correctness", 45, "Correctness on the device"),
    Part("marked_tests", 40, "The tests marked gpu"),
    Part("throughput", 150, "A whole training step"),
    Part("timeline", 24, "Where a step's time goes"),
    Part("feeding", 30, "The loop fed from shards"),
    Part("learning", 70, "Training from random weights"),
    Part("inference", 20, "Inference"),
    Part("processes", 25, "Several processes"),
)


def describe(values: dict[str, Any]) -> str:
    """A row in one line of the log."""
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items() if value not in (None, ""))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
