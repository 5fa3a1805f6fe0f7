"""`lhrnet profile` prints what is counted, and says what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest


def test_json_is_one_object_with_the_papers_counts(run: Callable[..., Any]) -> None:
    done = run("profile", "--r", "-2", "--cem", "half-reordered", "--json")
    assert done.code == 0, done.error
    counted = json.loads(done.out)
    assert counted["params"] == 5_942_153
    assert counted["macs"] == 4_794_728_008
    assert counted["paper_flops"] == 5_490_167_368
    assert counted["input_size"] == [448, 448]


def test_json_counts_the_peers_by_name(run: Callable[..., Any]) -> None:
    counted = json.loads(run("profile", "--model", "efficienthrnet-h-2", "--json").out)
    assert (counted["params"], counted["paper_flops"]) == (8_263_495, 7_725_396_280)


def test_table_names_the_parts_and_the_size(run: Callable[..., Any]) -> None:
    done = run("profile", "--size", "448x640")
    assert done.code == 0, done.error
    for words in ("448x640", "head.deconv", "5,942,153", "paper_flops"):
        assert words in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--r", "3"), "r=3 is out of range; r must be an integer from -4 to 0"),
        (("--cem", "some"), "cem='some' is not allowed"),
        (("--model", "hrnet"), "name='hrnet' is no known network"),
        (("--size", "448"), "write HEIGHTxWIDTH"),
        (("--size", "448x450"), "multiples of 32"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_why(
    run: Callable[..., Any], arguments: tuple[str, str], message: str
) -> None:
    done = run("profile", *arguments)
    assert done.code == 1
    assert message in done.error
    assert "Traceback" not in done.error
    assert done.out == ""
