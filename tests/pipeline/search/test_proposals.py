"""Proposals by Optuna: no trial twice, repeats with seeds of their own, and an interrupted search begins as before."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.search_space import SearchConfig
from pipeline.search.proposals import Proposals, holds
from pipeline.search.record import TrialRecord

CONFIG = SearchConfig(
    algorithm="optuna", samples=4, r=(-4, -3), cem=("none",), also={"optim": {"lr": {"low": 0.01, "high": 0.1}}}
)


def given_out(proposals: Proposals, count: int) -> list[dict[str, Any]]:
    given = []
    for number in range(count):
        given.append(proposals.suggest(str(number))["trial"])
        proposals.on_trial_complete(str(number), {"ap": given[-1]["optim.lr"]})
    return given


def test_a_setting_is_repeated_with_the_next_seeds() -> None:
    config = SearchConfig(algorithm="optuna", samples=3, repeats=2, r=(-4, -3), cem=("none", "half"))
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
    config = SearchConfig(algorithm="optuna", samples=5, r=(-4,), cem=("none",))
    assert [trial[2] for trial in given_out_settings(Proposals(config, seed=7), 5)] == [7, 8, 9, 10, 11]


def test_an_interrupted_search_gives_out_what_it_had_given_out_before() -> None:
    before = given_out(Proposals(CONFIG, seed=0), 4)
    known = [
        TrialRecord(name=str(n), order=n, seed=trial["seed"], setting={k: v for k, v in trial.items() if k != "seed"})
        for n, trial in enumerate(before)
    ]
    assert given_out(Proposals(CONFIG, seed=0, known=known), 5)[:4] == before


@pytest.mark.parametrize(
    ("changed", "still"),
    [
        ({"r": (-3,)}, [1, 2]),
        ({"r": (-4, -3, -2)}, [0, 1, 2]),
        ({"also": {"optim": {"lr": {"low": 0.02, "high": 0.06}}}}, [1]),
        ({"also": {"optim": {"lr": [0.09, 0.01]}}}, [0, 2]),
        ({"also": {}}, []),
        ({"also": CONFIG.also | {"loss": {"tag_weight": [0.1]}}}, []),
    ],
    ids=["narrowed", "widened", "narrower range", "a list", "key dropped", "key added"],
)
def test_a_changed_space_goes_on_with_the_settings_that_it_still_has(changed: dict[str, Any], still: list[int]) -> None:
    before = [{"model.r": r, "model.cem": "none", "optim.lr": rate} for r, rate in ((-4, 0.01), (-3, 0.05), (-3, 0.09))]
    known = [TrialRecord(name=str(n), order=n, seed=0, setting=setting) for n, setting in enumerate(before)]
    config = replace(CONFIG, **changed)
    proposals, given = Proposals(config, seed=0, known=known), []
    for number in range(6):
        given.append(proposals.suggest(str(number))["trial"])
        proposals.on_trial_complete(str(number), {"ap": 0.1})
    assert given[: len(still)] == [{**before[n], "seed": 0} for n in still]
    assert all(holds(config, {key: value for key, value in trial.items() if key != "seed"}) for trial in given)


def test_proposals_move_to_where_the_figures_are_better() -> None:
    given = given_out(Proposals(CONFIG, seed=0), 40)
    early, late = ([trial["optim.lr"] for trial in part] for part in (given[:10], given[-10:]))
    assert sum(late) > sum(early)


def test_without_optuna_one_is_told_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install 'lightweight-hrnet.search.', or take"):
        Proposals(CONFIG, seed=0)
