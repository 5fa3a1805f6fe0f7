"""`lhrnet exchange` prints the paper's Tables III and IV."""

import json
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("cem", "rows"),
    [
        ("full", [[6, 8, 10, 0], [0, 0, 14, 18], [6, 8, 24, 58], [12, 16, 48, 188]]),
        ("half-reordered", [[12, 0, 12, 0], [0, 20, 0, 12], [3, 4, 60, 29], [9, 8, 24, 223]]),
    ],
)
def test_json_is_the_table_row_by_row(run: Callable[..., Any], cem: str, rows: list[list[int]]) -> None:
    done = run("exchange", "--r", "-2", "--cem", cem, "--json")
    assert done.code == 0, done.error
    assert json.loads(done.out) == rows


def test_table_is_headed_by_the_widths(run: Callable[..., Any]) -> None:
    done = run("exchange", "--r", "-2", "--cem", "full")
    for words in ("A1 (24)", "A4 (264)", "A'3 (96)", "188"):
        assert words in done.out


def test_scale_out_of_range_is_refused(run: Callable[..., Any]) -> None:
    done = run("exchange", "--r", "1")
    assert done.code == 1
    assert "from -4 to 0" in done.error
