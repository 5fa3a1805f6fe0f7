"""Counts equal those of the papers to the last digit."""

import pytest

from lhrnet.network import ModelConfig, create_model, profile
from lhrnet.network.config import CEM

LIGHTWEIGHT = {
    0: (13_191_044, 13_897_302_016, 15_558_246_400),
    -1: (8_825_169, 8_217_618_300, 9_295_890_300),
    -2: (5_942_153, 4_794_728_008, 5_490_167_368),
}
PEERS = {
    "efficienthrnet-h0": (19_725_359, 23_958_286_848, 25_619_231_232),
    "efficienthrnet-h-1": (13_004_446, 13_130_000_048, 14_208_272_048),
    "efficienthrnet-h-2": (8_263_495, 7_029_956_920, 7_725_396_280),
    "efficienthrnet-h-3": (5_360_390, 3_758_983_969, 4_209_102_625),
    "efficienthrnet-h-4": (2_764_706, 1_807_480_224, 2_104_751_520),
    "higherhrnet-w32": (28_645_331, 46_203_404_288, 47_864_348_672),
    "higherhrnet-w48": (63_827_139, 149_468_774_400, 154_305_331_200),
}
PARTS = {
    "backbone.stem": (464, 21_676_032),
    "backbone.conv5": (55_488, 43_352_064),
    "backbone.conv7": (380_688, 74_511_360),
    "entry": (483_696, 228_360_384),
    "stage1.branches": (79_884, 398_297_088),
    "stage1.fuse": (8_946, 27_659_520),
    "stage2.carry": (20_034, 99_574_272),
    "stage2.branches": (3_965_688, 2_361_502_080),
    "stage2.fuse": (672_907, 318_034_696),
    "head.final0": (748, 8_956_416),
    "head.deconv": (18_522, 231_813_120),
    "head.blocks": (16_044, 796_594_176),
    "head.final1": (748, 35_825_664),
}


@pytest.mark.parametrize("cem", ["none", "full", "half", "half-reordered"])
@pytest.mark.parametrize("r", LIGHTWEIGHT)
def test_lightweight_hrnet_counts_what_table_five_says_with_and_without_exchange(r: int, cem: CEM) -> None:
    counted = profile(ModelConfig(r=r, cem=cem))
    assert (counted.params, counted.macs, counted.paper_flops) == LIGHTWEIGHT[r]
    assert counted.input_size == (512 + 32 * r, 512 + 32 * r)
    assert counted.convolutions == 121


@pytest.mark.parametrize("name", PEERS)
def test_peers_count_what_their_layers_add_up_to(name: str) -> None:
    counted = profile(ModelConfig(name=name))
    assert (counted.params, counted.macs, counted.paper_flops) == PEERS[name]


def test_parts_count_what_the_layers_say_and_add_up() -> None:
    counted = profile(ModelConfig(r=-2))
    for name, (params, macs) in PARTS.items():
        assert (counted.parts[name].params, counted.parts[name].macs) == (params, macs), name
    assert sum(part.params for part in counted.parts.values()) == counted.params
    assert sum(part.macs for part in counted.parts.values()) == counted.macs
    lite = [part for name, part in counted.parts.items() if "lcm" in name]
    assert sum(part.params for part in lite) == 238_296


def test_only_the_transposed_convolution_tells_the_two_counts_apart() -> None:
    for name, part in profile(ModelConfig(r=-2)).parts.items():
        assert part.paper_flops == (4 if name == "head.deconv" else 1) * part.macs


@pytest.mark.parametrize("exchange", ["plain", "folded"])
def test_counts_do_not_depend_on_the_form_that_runs(exchange: str) -> None:
    assert profile(ModelConfig(exchange=exchange)) == profile(ModelConfig())  # type: ignore[arg-type]


def test_counts_grow_with_the_area() -> None:
    square, wide = profile(ModelConfig(), (320, 320)), profile(ModelConfig(), (320, 640))
    assert wide.macs == 2 * square.macs
    assert wide.input_size == (320, 640)
    with pytest.raises(ValueError, match="multiples of 32"):
        profile(ModelConfig(), (320, 321))


def test_parameters_are_those_of_the_network_one_trains() -> None:
    for r in (-4, -3):
        network = create_model(ModelConfig(r=r))
        assert profile(ModelConfig(r=r)).params == sum(p.numel() for p in network.parameters())
