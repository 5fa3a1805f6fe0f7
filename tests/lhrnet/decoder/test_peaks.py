"""What finding peaks promises."""

import numpy as np
import pytest
import torch

from lhrnet.decoder.enlarged import Enlarged, Floats
from lhrnet.decoder.peaks import Peaks
from lhrnet.decoder.peaks import find_peaks as find

KPS = 3


def find_peaks(heat: Floats, tags_KhwT: Floats, *, kernel: int, threshold: float, count: int) -> Peaks:
    """In maps of the size at which they are read."""
    tags = np.ascontiguousarray(np.moveaxis(tags_KhwT, -1, 1)).reshape(-1, *heat.shape[1:])
    return find(Enlarged(heat), Enlarged(tags), kernel=kernel, threshold=threshold, count=count)


def maps(seed: int, noise: float = 0.1, size: tuple[int, int] = (40, 56)) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    heat = random.uniform(0, 1, (KPS, *size)) ** 4 + noise * random.standard_normal((KPS, *size))
    return heat.astype(np.float32), random.standard_normal((KPS, *size, 2)).astype(np.float32)


@pytest.mark.parametrize(("kernel", "count"), [(3, 5), (3, 30), (5, 7), (7, 30)])
def test_peaks_are_those_of_max_pooling_and_top_k(kernel: int, count: int) -> None:
    heat, tags = maps(kernel)
    found = find_peaks(heat, tags, kernel=kernel, threshold=0.2, count=count)
    heat_t = torch.from_numpy(heat)
    highest = torch.nn.functional.max_pool2d(heat_t, kernel, 1, kernel // 2)
    wanted, index = (heat_t * (heat_t == highest)).flatten(1).topk(count)
    for k in range(KPS):
        mine = slice(found.start[k], found.start[k + 1])
        above = wanted[k] > 0.2
        np.testing.assert_array_equal(found.score[mine], wanted[k][above].numpy())
        np.testing.assert_array_equal(found.index[mine], index[k][above].numpy())
        np.testing.assert_array_equal(found.tag[mine], tags.reshape(KPS, -1, 2)[k, index[k][above].numpy()])
    assert found.start[-1] == len(found.score) > 0


def test_peaks_on_the_border_count() -> None:
    heat, tags = np.zeros((KPS, 8, 8), np.float32), np.zeros((KPS, 8, 8, 1), np.float32)
    heat[0, 0, 0], heat[1, 7, 7], heat[2, 0, 7] = 0.5, 0.5, 0.5
    found = find_peaks(heat, tags, kernel=5, threshold=0.1, count=30)
    assert found.index.tolist() == [0, 63, 7]


def test_a_small_plateau_is_one_peak_and_a_huge_one_is_none() -> None:
    heat, tags = np.zeros((KPS, 32, 32), np.float32), np.zeros((KPS, 32, 32, 1), np.float32)
    heat[0, 4:6, 4:7] = 0.5
    heat[0, 20, 20] = 0.4
    heat[1, 4:30, 4:10] = 0.5
    heat[1, 20, 20] = 0.4
    heat[2, [3, 4, 5, 6], [7, 6, 5, 6]] = 0.5
    found = find_peaks(heat, tags, kernel=5, threshold=0.1, count=30)
    assert [found.start[k + 1] - found.start[k] for k in range(KPS)] == [2, 1, 1]
    assert found.index.tolist() == [4 * 32 + 4, 20 * 32 + 20, 20 * 32 + 20, 3 * 32 + 7]


def test_a_plateau_of_any_form_is_one_peak() -> None:
    heat, tags = np.zeros((KPS, 32, 32), np.float32), np.zeros((KPS, 32, 32, 1), np.float32)
    heat[0, [4, 5, 4], [4, 5, 6]] = 0.5  # a V
    heat[1, 4, [4, 6, 8]] = heat[1, 5, 3:10] = 0.5  # a comb
    heat[2, 4, 4:12:2] = heat[2, 5:9, 3:12] = 0.5  # a comb larger than the window
    found = find_peaks(heat, tags, kernel=5, threshold=0.1, count=30)
    assert found.start.tolist() == [0, 1, 2, 2]
    assert found.index.tolist() == [4 * 32 + 4, 4 * 32 + 4]
