"""A stored config is read in the names of its time; a person who writes one of those is told today's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints import stored_config
from pipeline.checkpoints.checkpoint import Checkpoint, load, read_config, save
from pipeline.checkpoints.stored_config import RENAMED, current, current_key, current_model, first_key
from pipeline.config import tree as config_tree
from pipeline.config.tree import known_keys, override, parse

WHOLE = {"name": "a", "storage": "/tmp", "data": {"train": "t", "val": "v"}}


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str | None]:
    """A table in which a key was renamed twice, once into another section, and one has gone."""
    table = {"loss.a": "loss.b", "loss.b": "train.c", "gate.x": None}
    for module in (stored_config, config_tree):
        monkeypatch.setattr(module, "RENAMED", table)
    return table


def test_a_stored_tree_gets_todays_names_and_is_left_as_it_was(renamed: Mapping[str, str | None]) -> None:
    stored = {"loss": {"a": 1, "kept": 2}, "gate": {"x": 3}, "search": {"also": {"loss": {"b": [4]}}}}
    before = override(stored, ())
    assert current(stored) == {
        "loss": {"kept": 2},
        "gate": {},
        "train": {"c": 1},
        "search": {"also": {"loss": {}, "train": {"c": [4]}}},
    }
    assert stored == before


def test_a_value_under_todays_name_is_not_overwritten(renamed: Mapping[str, str | None]) -> None:
    assert current({"loss": {"a": 1}, "train": {"c": 5}})["train"] == {"c": 5}


@pytest.mark.parametrize("stored", [{}, {"loss": 3}, {"loss": None, "search": {"also": 1}}])
def test_a_tree_without_these_sections_stays_as_it_is(
    stored: Mapping[str, object], renamed: Mapping[str, str | None]
) -> None:
    assert current(stored) == stored


def test_a_key_is_followed_to_its_last_name_and_back_to_its_first(renamed: Mapping[str, str | None]) -> None:
    assert [current_key(key) for key in ("loss.a", "loss.b", "train.c", "gate.x")] == ["train.c"] * 3 + [None]
    assert [first_key(key) for key in ("train.c", "loss.b", "other")] == ["loss.a", "loss.a", "other"]


def test_a_person_who_writes_an_old_name_is_told_todays(renamed: Mapping[str, str | None]) -> None:
    for key, told in {
        "loss.a": "config key loss.a is now train.c: write that",
        "gate.x": "config key gate.x is gone: leave it out",
    }.items():
        with pytest.raises(ValueError, match=told):
            parse(override(WHOLE, [f"{key}=1"]))


@pytest.mark.parametrize("old", RENAMED)
def test_every_new_name_is_a_key_and_no_old_one_is(old: str) -> None:
    assert old not in known_keys()
    assert current_key(old) in {*known_keys(), None}
    with pytest.raises(ValueError, match=rf"config key {old} is (now {current_key(old)}|gone)"):
        parse(override(WHOLE, [f"{old}=1"]))


IGNORED = {"name": "higherhrnet-w32", "r": -4, "cem": "none", "exchange": "plain", "input_size": 256}
"""As earlier versions stored it, which read neither r nor cem nor exchange for this network."""


def test_settings_that_the_network_ignored_are_refused_of_a_person_and_read_from_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config key model\.r=-4 .*higherhrnet-w32 has no such setting; leave r out"):
        parse(WHOLE | {"model": IGNORED})
    save(Checkpoint(url="", step=1, config=WHOLE | {"model": IGNORED}, weights={}), str(tmp_path))
    model = load(str(tmp_path)).model
    assert (model.name, model.side, model.r, model.cem, model.exchange) == (
        "higherhrnet-w32", 256, -2, "half-reordered", "folded",
    )  # fmt: skip
    assert parse(read_config(str(tmp_path))).model == model


@pytest.mark.parametrize("section", [{"name": "lightweight-hrnet", "r": -4}, {"name": "no such", "r": -4}, {"r": -1}])
def test_settings_that_the_network_has_or_may_have_stay(section: dict[str, Any]) -> None:
    assert current_model(section) == section


def test_the_weight_of_pull_is_merged_into_that_of_the_tags() -> None:
    stored = {"tag_weight": 0.05, "pull_weight": 2.0, "push_weight": 0.5}
    assert current({"loss": stored})["loss"] == {"tag_weight": 0.1, "push_weight": 0.25}
    assert current({"loss": stored | {"pull_weight": 1.0}})["loss"] == {"tag_weight": 0.05, "push_weight": 0.5}
    with pytest.raises(ValueError, match=r"loss\.pull_weight is gone: multiply loss\.tag_weight by it"):
        parse(WHOLE | {"loss": stored})


def test_a_stored_push_without_pull_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert current({"loss": {"tag_weight": 0.05, "pull_weight": 0, "push_weight": 1}})["loss"]["tag_weight"] == 0
    assert "loss.pull_weight=0" in caplog.text
