"""Proposals by Optuna: no trial twice, repeats with seeds of their own, and an interrupted search begins as before."""

import sys
from typing import Any

import pytest

from pipeline.search.proposals import Proposals
from pipeline.search.record import Record
from pipeline.search.space import SearchConfig

CONFIG = SearchConfig(
    algorithm="optuna", settings=4, r=(-4, -3), cem=("none",), also={"optim": {"lr": {"low": 0.01, "high": 0.1}}}
)


def given_out(proposals: Proposals, count: int) -> list[dict[str, Any]]:
    given = []
    for number in range(count):
        given.append(proposals.suggest(str(number))["trial"])
        proposals.on_trial_complete(str(number), {"ap": given[-1]["optim.lr"]})
    return given


def test_a_setting_is_repeated_with_the_next_seeds() -> None:
    config = SearchConfig(algorithm="optuna", settings=3, repeats=2, r=(-4, -3), cem=("none", "half"))
    given = given_out_settings(Proposals(config, seed=5), 6)
    assert len(set(given)) == 6
    for first, second in zip(given[::2], given[1::2], strict=True):
        assert first[:2] == second[:2]
        assert second[2] == first[2] + 1


def given_out_settings(proposals: Proposals, count: int) -> list[tuple[Any, ...]]:
    given = []
    for number in range(count):
        given.append(tuple(proposals.suggest(str(number))["trial"].values()))
        proposals.on_trial_complete(str(number), {"ap": 0.1})
    return given


def test_what_is_proposed_again_gets_the_next_seed() -> None:
    config = SearchConfig(algorithm="optuna", settings=5, r=(-4,), cem=("none",))
    assert [trial[2] for trial in given_out_settings(Proposals(config, seed=7), 5)] == [7, 8, 9, 10, 11]


def test_an_interrupted_search_gives_out_what_it_had_given_out_before() -> None:
    before = given_out(Proposals(CONFIG, seed=0), 4)
    known = [
        Record(name=str(n), order=n, seed=trial["seed"], setting={k: v for k, v in trial.items() if k != "seed"})
        for n, trial in enumerate(before)
    ]
    assert given_out(Proposals(CONFIG, seed=0, known=known), 5)[:4] == before


def test_proposals_move_to_where_the_figures_are_better() -> None:
    given = given_out(Proposals(CONFIG, seed=0), 40)
    early, late = ([trial["optim.lr"] for trial in part] for part in (given[:10], given[-10:]))
    assert sum(late) > sum(early)


def test_without_optuna_one_is_told_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install 'lightweight-hrnet.search.', or take"):
        Proposals(CONFIG, seed=0)
