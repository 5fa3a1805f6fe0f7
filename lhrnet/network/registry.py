"""The networks by name. A network is one short module that registers a function from its settings to its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lhrnet.network.spec import ModelConfig
    from lhrnet.network.stages import PoseNetwork

Build = Callable[["ModelConfig"], "PoseNetwork"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the registry knows about a network without building it."""

    build: Build
    """Makes the network; weights are initialised afterwards, by `create_model`."""

    side: Callable[[ModelConfig], int]
    """Side of the square input in pixels that the network was published with."""

    tags_at_half: bool
    """Whether its published half-resolution output has tag maps."""


_ENTRIES: dict[str, Entry] = {}


def register(name: str, entry: Entry) -> None:
    """Make a network available by name.

    Raises:
        ValueError: the name is taken.
    """
    if name in _ENTRIES:
        raise ValueError(f"a network named {name!r} is registered already")
    _ENTRIES[name] = entry


def names() -> list[str]:
    """Names of all networks, sorted."""
    return sorted(_ENTRIES)


def entry(name: str) -> Entry:
    """What is known about the network of this name.

    Raises:
        ValueError: no such network.
    """
    if name not in _ENTRIES:
        raise ValueError(f"no network is named {name!r}; choose one of {', '.join(names())}")
    return _ENTRIES[name]


def create_model(config: ModelConfig) -> PoseNetwork:
    """Build a network with initial weights drawn from torch's global generator.

    Its forward takes normalised float images (B, 3, H, W), H and W multiples of 32, and returns maps at
    (B, 34, H/4, W/4) and (B, 34 or 17, H/2, W/2): channels 0 to 16 are heatmaps, 17 to 33 tags.
    The network remembers its settings as `network.config`.
    """
    network = entry(config.name).build(config)
    network.initialise()
    return network
