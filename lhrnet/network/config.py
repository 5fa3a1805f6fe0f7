"""The settings of a network."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self, get_args

from lhrnet.network.catalogue import CATALOGUE, Setting, settings_of
from lhrnet.network.scaling import check_r, input_side
from lhrnet.skeleton import COCO, Skeleton

CEM = Literal["none", "full", "half", "half-reordered"]
"""How the Channel Exchange Module trades channels: not at all, whole maps (Table III), halves in natural order, or
halves in the paper's final order (Table IV)."""

ExchangeForm = Literal["folded", "plain"]
Init = Literal["kaiming", "normal"]

STRIDE: Final = 32
"""Input height and width must be multiples of this: the coarsest feature maps are at 1/32 of the input."""

MAX_SHORT_SIDE: Final = 4096
"""Pixels of the input's short side at most; a photo of 3:2 is then 25 million pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network to build. Two equal values build networks whose weights have the same names and shapes."""

    name: str = "lightweight-hrnet"
    """Network to build; `lhrnet.network.names()` lists them."""

    r: int = -2
    """Compound scale of lightweight-hrnet, -4 (smallest) to 0; the other networks have their scale in their name."""

    cem: CEM = "half-reordered"
    """Channel exchange of lightweight-hrnet: none, full, half or half-reordered (the paper's)."""

    exchange: ExchangeForm = "folded"
    """How lightweight-hrnet computes the exchange: folded (exact and fast) or plain (the paper's, step by step)."""

    tags_at_half: bool | None = None
    """Whether the half-resolution output has tag maps too; left out, the network's own published choice."""

    init: Init = "kaiming"
    """Initial weights: kaiming (output layers N(0, 0.001)), or normal, N(0, 0.001) everywhere (the reference)."""

    bn_momentum: float = 0.1
    """Weight of the current batch in batch norm's running statistics, above 0 up to 1."""

    input_size: int | None = None
    """Side of the training input in pixels, a multiple of 32; left out, the network's own."""

    skeleton: Skeleton | None = None
    """Keypoints that it finds: the name of a built-in skeleton, or a YAML file that `lhrnet data skeleton` wrote; left
    out, those of the data, and COCO's 17 where there are no data."""

    def __post_init__(self) -> None:
        """Raises ValueError: a value is out of range, or set for a network that has no such setting."""
        own = settings_of(self.name)
        check_r(self.r)
        for key, allowed in (("cem", CEM), ("exchange", ExchangeForm), ("init", Init)):
            value = getattr(self, key)
            if value not in get_args(allowed):
                raise ValueError(f"{key}={value!r} is not allowed; choose one of {', '.join(get_args(allowed))}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in get_args(Setting) and field.name not in own and value != field.default:
                raise ValueError(
                    f"{field.name}={value!r} is not allowed: {self.name} has no such setting; leave {field.name} out"
                )
        if not 0 < self.bn_momentum <= 1:
            raise ValueError(f"bn_momentum={self.bn_momentum} is not allowed; it must be above 0 and at most 1")
        if self.input_size is not None:
            check_size(self.input_size, self.input_size)
            check_short_side(self.input_size)

    @classmethod
    def from_fields(cls, stored: Mapping[str, Any]) -> Self:
        """Settings as JSON keeps them.

        Raises:
            ValueError: a value is out of range.
            TypeError: there is no such setting.
        """
        skeleton = stored.get("skeleton")
        return cls(**{**stored, "skeleton": Skeleton.from_fields(skeleton) if skeleton else None})

    @property
    def native_side(self) -> int:
        """Side of the square input in pixels that the network was published with."""
        side = CATALOGUE[self.name].side
        return input_side(self.r) if side is None else side

    @property
    def side(self) -> int:
        """Side of the square training input in pixels: input_size, or the network's own."""
        return self.native_side if self.input_size is None else self.input_size

    @property
    def keypoints(self) -> Skeleton:
        """The skeleton in use: `skeleton`, or COCO's."""
        return self.skeleton or COCO

    @property
    def half_channels(self) -> int:
        """Channels of the half-resolution output: 2 K with tag maps, K without (34 and 17 for COCO's keypoints)."""
        tags = CATALOGUE[self.name].tags_at_half if self.tags_at_half is None else self.tags_at_half
        return self.keypoints.count * (2 if tags else 1)


def check_short_side(size: int) -> None:
    """Refuse a short side of the input that no network can be given.

    Raises:
        ValueError: it is not from 32 to 4096 pixels.
    """
    if not STRIDE <= size <= MAX_SHORT_SIDE:
        raise ValueError(
            f"a size of {size} is not allowed: the input's short side is {STRIDE} to {MAX_SHORT_SIDE} pixels; leave it "
            "out for the network's own"
        )


def check_size(height: int, width: int) -> None:
    """Refuse an input size in pixels that cannot be halved five times.

    Raises:
        ValueError: height or width is not a positive multiple of 32.
    """
    if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
        raise ValueError(
            f"input size {height}x{width} is not allowed: height and width must be multiples of {STRIDE}; "
            f"pad or resize the image"
        )
