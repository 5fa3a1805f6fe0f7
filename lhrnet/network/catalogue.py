"""Published facts of every network by name, for settings to be checked against. No network is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lhrnet.network.scaling import MAX_R, MIN_R, input_side

Setting = Literal["r", "cem", "exchange"]
"""Fields of `ModelConfig` that not every network has."""


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """What is known about a network without building it."""

    side: int | None = None
    """Side of the square training input in pixels as published; None: it follows from r by equation 1."""

    tags_at_half: bool = False
    """Whether the published half-resolution output has tag maps."""

    settings: tuple[Setting, ...] = ()
    """Which of the optional settings the network has."""


CATALOGUE: Final[Mapping[str, NetworkEntry]] = {
    "lightweight-hrnet": NetworkEntry(tags_at_half=True, settings=("r", "cem", "exchange")),
    "higherhrnet-w32": NetworkEntry(side=512),
    "higherhrnet-w48": NetworkEntry(side=640),
    **{f"efficienthrnet-h{r}": NetworkEntry(side=input_side(r)) for r in range(MIN_R, MAX_R + 1)},
}


def names() -> list[str]:
    """Names of all networks, sorted."""
    return sorted(CATALOGUE)


def settings_of(name: str) -> tuple[Setting, ...]:
    """Which optional settings the network of this name has.

    Raises:
        ValueError: no such network.
    """
    if name not in CATALOGUE:
        raise ValueError(f"name={name!r} is no known network; choose one of {', '.join(names())}")
    return CATALOGUE[name].settings
