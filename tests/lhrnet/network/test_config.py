"""The scaling rules give the paper's widths, and settings that cannot be are refused with the range."""

import pytest

from lhrnet.network import ModelConfig
from lhrnet.network.config import check_size
from lhrnet.network.scaling import backbone_widths, branch_widths, input_side, tapped_widths


@pytest.mark.parametrize(
    ("r", "widths"),
    [
        (0, (16, 24, 40, 80, 112, 192, 320)),
        (-1, (16, 24, 40, 72, 104, 176, 288)),
        (-2, (16, 24, 32, 64, 96, 160, 264)),
    ],
)
def test_backbone_widths_are_those_of_table_one(r: int, widths: tuple[int, ...]) -> None:
    assert backbone_widths(r) == widths
    assert tapped_widths(r) == (widths[1], widths[2], widths[4], widths[6])


@pytest.mark.parametrize(("r", "widths"), [(0, (32, 64, 128, 256)), (-1, (26, 52, 103, 206)), (-2, (21, 42, 83, 166))])
def test_branch_widths_are_those_of_table_two(r: int, widths: tuple[int, ...]) -> None:
    assert branch_widths(r) == widths


def test_widths_below_the_paper_stay_usable() -> None:
    assert backbone_widths(-3)[:2] == (16, 24)
    assert backbone_widths(-4)[:2] == (16, 16)


def test_side_follows_from_the_network_unless_chosen() -> None:
    assert [input_side(r) for r in (0, -1, -2, -3, -4)] == [512, 480, 448, 416, 384]
    assert ModelConfig().side == 448
    assert ModelConfig(name="higherhrnet-w48").side == 640
    assert ModelConfig(input_size=192).side == 192


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 3}, r"r=3 .*-4 to 0"),
        ({"r": -5}, r"r=-5 .*-4 to 0"),
        ({"r": -1.5}, r"r=-1\.5 .*integer from -4 to 0"),
        ({"r": False}, r"r=False .*integer from -4 to 0"),
        ({"r": "-2"}, r"r='-2' .*integer from -4 to 0"),
        ({"name": "hrnet-w99"}, r"hrnet-w99.*lightweight-hrnet"),
        ({"cem": "quarter"}, r"cem='quarter'.*half-reordered"),
        ({"exchange": "fast"}, r"exchange='fast'.*folded, plain"),
        ({"init": "zero"}, r"init='zero'.*kaiming, normal"),
        ({"bn_momentum": 0.0}, r"bn_momentum=0\.0.*above 0"),
        ({"name": "higherhrnet-w32", "r": -4}, r"r=-4 .*higherhrnet-w32 has no such setting; leave r out"),
        ({"name": "efficienthrnet-h0", "cem": "none"}, r"cem='none'.*efficienthrnet-h0 has no.*leave cem out"),
        ({"name": "higherhrnet-w48", "exchange": "plain"}, r"exchange='plain'.*leave exchange out"),
        ({"input_size": 450}, r"450x450.*multiples of 32"),
    ],
)
def test_settings_out_of_range_name_key_value_and_what_is_allowed(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(448, 450), (0, 448), (-32, 448)])
def test_sizes_that_cannot_be_halved_five_times_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}.*multiples of 32"):
        check_size(*size)


def test_a_setting_that_the_network_has_not_may_be_given_its_default() -> None:
    assert ModelConfig(name="higherhrnet-w32", r=-2, cem="half-reordered", exchange="folded").side == 512
