"""What can be chosen about a network, and the scaling rules (the paper's equations 1 to 4) that follow from r."""

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from lhrnet.network import registry

CEM = Literal["none", "full", "half", "half-reordered"]
"""How the Channel Exchange Module trades channels: not at all, whole maps (Table III), halves in natural order, or
halves in the paper's final order (Table IV)."""

ExchangeForm = Literal["folded", "plain"]
Init = Literal["kaiming", "normal"]

R_LOWEST: Final = -4
R_HIGHEST: Final = 0
STRIDE: Final = 32
"""Input height and width must be multiples of this: the deepest branch lies at 1/32, or is fused into one that does."""

_EFFICIENTNET_B0_WIDTHS: Final = (16, 24, 40, 80, 112, 192, 320)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network to build. Two equal values build networks whose weights have the same names and shapes."""

    name: str = "lightweight-hrnet"
    """Network in the registry; `lhrnet.network.names()` lists them."""

    r: int = -2
    """Compound scale of lightweight-hrnet, -4 (smallest) to 0; the other networks carry their scale in their name."""

    cem: CEM = "half-reordered"
    """Channel exchange of lightweight-hrnet: none, full, half or half-reordered (the paper's)."""

    exchange: ExchangeForm = "folded"
    """How the exchange is computed: folded is exact and fast, plain is the paper's recipe step by step."""

    tags_at_half: bool | None = None
    """Whether the half-resolution output has 17 tag maps too; left out, the network's own published choice."""

    init: Init = "kaiming"
    """Initial weights: kaiming (output layers N(0, 0.001)), or normal, N(0, 0.001) everywhere (the reference)."""

    bn_momentum: float = 0.1
    """Share of the newest batch in batch norm's running statistics, above 0 up to 1."""

    input_size: int | None = None
    """Side of the training input in pixels, a multiple of 32; left out, the network's own."""

    def __post_init__(self) -> None:
        if self.name not in registry.names():
            raise ValueError(f"name={self.name!r} is no known network; choose one of {', '.join(registry.names())}")
        check_r(self.r)
        for key, allowed in (("cem", CEM), ("exchange", ExchangeForm), ("init", Init)):
            value = getattr(self, key)
            if value not in get_args(allowed):
                raise ValueError(f"{key}={value!r} is not allowed; choose one of {', '.join(get_args(allowed))}")
        if not 0 < self.bn_momentum <= 1:
            raise ValueError(f"bn_momentum={self.bn_momentum} is not allowed; it must be above 0 and at most 1")
        if self.input_size is not None:
            check_size(self.input_size, self.input_size)

    @property
    def side(self) -> int:
        """Side of the square training input in pixels: input_size, or the network's own."""
        return self.input_size if self.input_size is not None else registry.entry(self.name).side(self)

    @property
    def half_channels(self) -> int:
        """Channels of the half-resolution output: 34 with tag maps, 17 without."""
        tags = registry.entry(self.name).tags_at_half if self.tags_at_half is None else self.tags_at_half
        return 34 if tags else 17


def check_r(r: int) -> None:
    """Refuse a scale outside the range the paper's equations were resolved for."""
    if type(r) is not int or not R_LOWEST <= r <= R_HIGHEST:
        raise ValueError(f"r={r!r} is out of range; r must be an integer from {R_LOWEST} to {R_HIGHEST}")


def check_size(height: int, width: int) -> None:
    """Refuse an input that the deepest branch cannot halve evenly."""
    if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
        raise ValueError(
            f"input size {height}x{width} is not allowed: height and width must be multiples of {STRIDE}; "
            f"pad or resize the image"
        )


def input_side(r: int) -> int:
    """Side of the input in pixels: 512 + 32 r (equation 1)."""
    check_r(r)
    return 512 + 32 * r


def round_width(width: float) -> int:
    """Nearest multiple of 8, at least 8, never more than a tenth below `width` (EfficientNet's rule)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def backbone_widths(r: int) -> tuple[int, ...]:
    """Channels of the seven backbone rows: EfficientNet-B0's times 1.1^r, rounded to multiples of 8 (equation 2)."""
    check_r(r)
    return tuple(round_width(width * 1.1**r) for width in _EFFICIENTNET_B0_WIDTHS)


def tapped_widths(r: int) -> tuple[int, int, int, int]:
    """Channels of A1..A4, the backbone maps at 1/4, 1/8, 1/16 and 1/32 that feed the branches."""
    widths = backbone_widths(r)
    return widths[1], widths[2], widths[4], widths[6]


def branch_widths(r: int) -> tuple[int, int, int, int]:
    """Channels of the four branches: 32, 64, 128, 256 times 1.2455^r, rounded up (equation 3)."""
    check_r(r)
    first, second, third, fourth = (math.ceil(width * 1.2455**r) for width in (32, 64, 128, 256))
    return first, second, third, fourth
