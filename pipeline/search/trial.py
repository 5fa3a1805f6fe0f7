"""A trial: one training run under its own name, whose validations Ray Tune hears of while they happen."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.search_space import Setting, label
from pipeline.config.tree import NAME, Config, override, parse
from pipeline.search.record import TrialRecord, TrialRecords
from pipeline.storage import store

METRIC = "ap"
PROGRESS = "part"
"""Percent of a trial's run: trials of different lengths are compared at equal progress."""
ENDED = "ended"
"""Key of a trial's last report: how it ended, by itself."""


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """What all trials share; plain values, so that it can be handed to them."""

    tree: Mapping[str, Any]
    """The search's config."""
    parent: str
    """Id of the search's MLflow run; empty where nothing is tracked."""


def search_url(config: Config) -> str:
    """A search's folder: `search` in the folder that a run of the same name would have."""
    return store.join(config.run_url, "search")


def trials_url(config: Config) -> str:
    """The folder of a search's runs."""
    return store.join(search_url(config), "trials")


def trial_name(name: str, setting: Setting, seed: int) -> str:
    """The name of a trial's run, e.g. `first-r-2-none-s0`: the same setting and seed, the same run."""
    return f"{name}-{label(setting)}-s{seed}"


def trial_config(tree: Mapping[str, Any], setting: Setting, seed: int) -> Config:
    """The config of a trial's run: the search's, with the setting laid over it.

    Raises:
        ValueError: the setting has an unknown key or a value that is not allowed, or the name is too long.
    """
    base = parse(tree)
    name = trial_name(base.name, setting, seed)
    if not NAME.fullmatch(name):
        raise ValueError(f"{name} is no name for a run (at most 63 of a-z, 0-9, '.', '_', '-'): take a shorter name=")
    return parse(with_setting(tree, setting) | {"name": name, "seed": seed, "storage": trials_url(base), "search": {}})


def with_setting(tree: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """A copy of a tree with the setting's values in it.

    Raises:
        ValueError: a key goes through a value.
    """
    result = override(tree, ())
    for key, value in setting.items():
        *parents, last = key.split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"search.also has {key}, and {parent} is a value, not a section")
        node[last] = value
    return result


def record_config(tree: Mapping[str, Any], record: TrialRecord) -> Config | None:
    """The config of a trial that was started; None where its setting is invalid, as a proposal's may be.

    Raises:
        ValueError: a finished run has a setting that is not allowed any more.
    """
    try:
        return trial_config(tree, record.setting, record.seed)
    except ValueError:
        if record.over:
            raise
        return None


def run_trial(setting: dict[str, Any], job: TrialJob) -> None:
    """What Ray Tune calls, in a process of its own: train, tell every validation and the end.

    A trial that an earlier attempt of the search has finished only reports again what it reported, so that
    the scheduler and the searcher see it; one that was interrupted does so too, and then resumes from its last
    checkpoint. An error in training ends this trial alone, and so does a proposed setting that no run can have.
    """
    from ray import tune

    given = dict(setting["trial"])
    seed = int(given.pop("seed"))
    begun = time.monotonic()
    base = parse(job.tree)
    known = TrialRecords.read_one(search_url(base), trial_name(base.name, given, seed))
    for seen in known.seen if known else ():
        tune.report({METRIC: seen.ap, PROGRESS: seen.part, "step": seen.step})
    if known and known.over:
        tune.report({METRIC: known.ap, PROGRESS: known.seen[-1].part if known.seen else 1, ENDED: known.state})
        return
    try:
        config = trial_config(job.tree, given, seed)
        tune.report(_train(config, job.parent) | {"seconds": time.monotonic() - begun})
    except Exception as error:  # a search outlives whatever one setting brings about
        said = f"{type(error).__name__}: {error}" if not isinstance(error, RuntimeError) else str(error)
        tune.report({METRIC: -1.0, PROGRESS: 1, ENDED: "failed", "error": said[:1000]})


def _train(config: Config, parent: str) -> dict[str, Any]:
    from pipeline.runs.launch import run_on_ray
    from pipeline.search.follow import ReportToTune

    done = run_on_ray(config, parent=parent, callbacks=[ReportToTune()])
    if not done.finished:
        raise RuntimeError(f"it was told to stop at step {done.steps}")
    if not done.ap >= 0:
        raise RuntimeError("it was not validated: set train.validate_every, or give data.val images with people")
    end = {"step": done.steps, "checkpoint": done.checkpoint, "resumed_from": done.resumed_from}
    return {METRIC: done.ap, PROGRESS: 100, ENDED: "finished", **end}
