"""What is tried: the paper's grid and whatever else is asked for, the same at every start."""

from typing import Any

import pytest

from pipeline.config.search_space import SearchConfig, corners, label, other_keys, settings
from pipeline.config.tree import Config, override, parse
from pipeline.search.trial import search_url, trial_config


def base(**search: Any) -> Config:
    return parse({"name": "a", "storage": "/runs", "data": {"train": "/t", "val": "/v"}, "search": search})


def test_by_itself_it_is_the_papers_two_questions() -> None:
    tried = settings(SearchConfig(), seed=0)
    assert len(tried) == 20
    assert {setting["model.r"] for setting in tried} == {0, -1, -2, -3, -4}
    assert {setting["model.cem"] for setting in tried} == {"none", "full", "half", "half-reordered"}


def test_any_key_can_be_tried_too_as_a_command_line_gives_it() -> None:
    tree = override(base().tree(), ["search.r=[-4]", "search.cem=[none]", "search.also.optim.lr=[1.0e-3, 1.0e-2]"])
    tried = settings(parse(tree).search, seed=0)
    assert [setting["optim.lr"] for setting in tried] == [1e-3, 1e-2]
    trial = trial_config(tree, tried[1], 7)
    assert (trial.optim.lr, trial.model.r, trial.seed) == (1e-2, -4, 7)
    assert trial.run_url == f"{search_url(parse(tree))}/trials/{trial.name}"
    assert other_keys(tried[1]) == "optim.lr=0.01"


def test_random_settings_are_the_same_for_a_seed_and_a_longer_search_begins_as_a_shorter_one() -> None:
    also = {"optim": {"lr": {"low": "1e-3", "high": "1e-1", "log": True}}, "loss.tag_weight": [0.01, 0.05]}
    few = settings(SearchConfig(algorithm="random", samples=5, also=also), seed=3)
    many = settings(SearchConfig(algorithm="random", samples=9, also=also), seed=3)
    assert many[:5] == few
    assert len({label(setting) for setting in many}) == 9
    assert all(1e-3 <= setting["optim.lr"] <= 1e-1 for setting in many)


def test_a_small_space_is_drawn_once_and_no_setting_twice() -> None:
    drawn = settings(SearchConfig(algorithm="random", samples=50, r=(-4, -3), cem=("none",)), seed=0)
    assert sorted(setting["model.r"] for setting in drawn) == [-4, -3]


def test_names_tell_settings_and_seeds_apart_and_are_allowed_for_runs() -> None:
    tree = base().tree()
    names = {
        trial_config(tree, {"model.r": r, "model.cem": cem, **more}, seed).name
        for r in (0, -2)
        for cem in ("half", "half-reordered")
        for more in ({}, {"optim.lr": 0.1}, {"optim.lr": 0.2})
        for seed in (0, 1)
    }
    assert len(names) == 24
    assert "a-r-2-half-s1" in names


def test_every_value_and_both_ends_of_a_range_are_checked_before_proposals() -> None:
    config = SearchConfig(algorithm="optuna", samples=3, r=(-4, -3), also={"optim.lr": {"low": 0.1, "high": 0.2}})
    seen = corners(config)
    assert {setting["optim.lr"] for setting in seen} == {0.1, 0.2}
    assert {setting["model.r"] for setting in seen} == {-4, -3}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"r": []}, r"search\.r is \[\]; allowed: one value or more"),
        ({"cem": ["none", "none"]}, "each once"),
        ({"cem": ["twice"]}, r"search\.cem"),
        ({"also": {"optim": {"lr": {"low": 1, "high": 2}}}}, r"a range for optim\.lr; allowed with algorithm grid"),
        ({"also": {"optim": {"lr": 0.1}}}, r"0\.1 for optim\.lr; allowed: a list of values"),
        ({"also": {"optim": {"lr": {"low": 2, "high": 1}}}}, "low below high"),
        ({"also": {"optim": {"lr": {"low": 0, "high": 1, "log": True}}}}, "above 0 where log is true"),
        ({"also": {"model": {"r": [1]}}}, r"model\.r is set by search\.r"),
        ({"also": {"model": {"name": ["higherhrnet-w32"]}}}, r"for model\.name; allowed.*by search\.r and search\.cem"),
        ({"also": {"model.name": ["higherhrnet-w32"]}}, r"for model\.name; allowed"),
        ({"also": {"model": [{"r": -2, "cem": "full"}]}}, r"for model; allowed.*by search\.r and search\.cem"),
        ({"also": {"seed": [1, 2]}}, "as a search sets seed itself"),
        ({"also": {"tracking": {"uri": ["x"]}}}, "also has tracking; allowed: other keys"),
        ({"algorithm": "random"}, "samples is 0"),
        ({"repeats": 0}, r"search\.repeats: got 0; input should be greater than 0"),
        ({"grace": 1.0}, r"search\.grace: got 1\.0; input should be less than 1"),
    ],
)
def test_an_impossible_search_is_an_error_that_names_the_key(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        base(**wrong)


def test_a_name_that_leaves_no_room_for_the_settings_is_refused() -> None:
    tree = base().tree() | {"name": "n" * 50}
    with pytest.raises(ValueError, match="take a shorter name="):
        trial_config(tree, {"model.r": -4, "model.cem": "half-reordered"}, 0)
