"""Lists of keys are derived from marks on the fields: each key is there, and each mark is one that somebody reads."""

from dataclasses import fields, is_dataclass
from typing import get_args

from pipeline.config.marks import Mark, is_among, keys_marked
from pipeline.config.search_space import CEM_KEY, FIXED, R
from pipeline.config.tree import Config, known_keys


def test_a_mark_is_found_on_fields_of_the_tree_and_of_its_sections() -> None:
    order = {"seed", "data.train", "train.global_batch", "stream.lanes", "stream.window", "stream.images"}
    assert set(keys_marked("order")) == order
    assert set(keys_marked("recipe")) == {"augment", "loss", "optim", "train"}
    assert {"name", "tracking", "train.log_every", "evaluate.threads"} <= set(keys_marked("result", False))


def test_no_mark_is_misspelt() -> None:
    marks = set()
    for field in Config.model_fields.values():
        marks |= set(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else set()
        if is_dataclass(field.annotation):
            marks |= {mark for part in fields(field.annotation) for mark in part.metadata}
    assert marks == set(get_args(Mark))


def test_keys_that_a_search_names_are_keys_of_the_config() -> None:
    assert {R, CEM_KEY} <= known_keys()
    assert set(FIXED) <= Config.model_fields.keys()


def test_a_section_stands_for_its_keys_and_for_no_other() -> None:
    assert is_among("gate.resamples", ("gate", "data.test"))
    assert is_among("data.test", ("gate", "data.test"))
    assert not is_among("data.tests", ("gate", "data.test"))
    assert not is_among("gates.resamples", ("gate", "data.test"))
