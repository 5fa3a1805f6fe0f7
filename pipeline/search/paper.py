"""What the paper prints of its networks on COCO: Tables V and VI."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables."""

    params: float
    flops: float
    """By the rule of the HRNet family: `paper_flops`."""
    ap_val: float
    """COCO val2017, from 0 to 1."""
    ap_test: float
    """COCO test-dev."""


PAPER: Final = {
    (0, "none"): PaperRow(13.2e6, 15.6e9, 0.552, 0.549),
    (-1, "none"): PaperRow(8.8e6, 9.3e9, 0.490, 0.485),
    (-2, "none"): PaperRow(5.9e6, 5.5e9, 0.454, 0.457),
    (-2, "half-reordered"): PaperRow(5.9e6, 5.5e9, 0.466, 0.466),
}
"""By r and channel exchange: Table V (without), and Table VI's row with the exchange."""
