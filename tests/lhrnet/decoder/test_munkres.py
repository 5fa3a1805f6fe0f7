"""What the assignment solver promises."""

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from lhrnet.decoder.munkres import first_optimum


@pytest.mark.parametrize("seed", range(40))
def test_no_assignment_is_cheaper(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(1, 6)
    cost = np.round(random.uniform(0, 4, (rows, random.integers(rows, 8)))) * 100 - random.uniform(0, 1, (rows, 1))
    found = first_optimum(cost)
    assert len(set(found.tolist())) == rows
    everything = [cost[np.arange(rows), p].sum() for p in permutations(range(cost.shape[1]), int(rows))]
    assert cost[np.arange(rows), found].sum() == pytest.approx(min(everything))


def test_where_there_is_one_optimum_it_is_scipy_s() -> None:
    cost = np.random.default_rng(0).uniform(0, 1, (20, 30))
    np.testing.assert_array_equal(first_optimum(cost), linear_sum_assignment(cost)[1])


@pytest.mark.parametrize(
    ("cost", "columns"),
    [
        ([[0, 0, 0, 0]] * 4, [0, 1, 2, 3]),
        ([[5, 5, 0, 0], [5, 0, 0, 9], [0, 0, 9, 9], [0, 9, 9, 0]], [2, 1, 0, 3]),
        ([[1, 1, 2, 2], [0, 0, 2, 2], [0, 0, 2, 1], [0, 2, 0, 1]], [0, 1, 3, 2]),
        ([[0, 0, 1], [0, 0, 1], [0, 0, 1]], [0, 1, 2]),
        ([[1, 0, 0], [0, 2, 2], [0, 1, 1]], [1, 0, 2]),
    ],
)
def test_among_equals_it_is_the_one_munkres_finds(cost: list[list[int]], columns: list[int]) -> None:
    assert first_optimum(np.array(cost, dtype=float)).tolist() == columns
