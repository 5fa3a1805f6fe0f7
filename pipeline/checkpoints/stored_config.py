"""Keys of the config that were renamed: a config that an earlier version stored is read in today's names.

Checkpoints, searches and registered models keep the config they were made with, in the names of their time. What reads
one asks `current` first. A person who writes an old name is told the new one (`pipeline.config.tree`).
"""

import logging
from collections.abc import Mapping
from typing import Any, get_args

from lhrnet.network.catalogue import Setting, names, settings_of

log = logging.getLogger(__name__)

RENAMED: Mapping[str, str | None] = {
    "augment.scale_min": "augment.min_scale",
    "augment.scale_max": "augment.max_scale",
    "gate.least_ap": "gate.min_ap",
    "gate.least_gain": "gate.min_gain",
    "gate.most_params": "gate.max_params",
    "gate.most_macs": "gate.max_macs",
    "gate.most_latency_ms": "gate.max_latency_ms",
    "gate.most_keypoint_loss": "gate.max_keypoint_loss",
    "gate.most_size_loss": "gate.max_size_loss",
    "loss.pull_weight": None,
    "search.concurrent": "search.max_concurrent",
    "search.settings": "search.samples",
    "train.nonfinite_limit": "train.max_nonfinite",
}
"""Old key to new key, both dotted, in the order of their renaming; None: nothing took its place."""
INSTEAD: Mapping[str, str] = {
    "loss.pull_weight": "multiply loss.tag_weight by it and divide loss.push_weight by it",
}
"""What to write in place of a key that is gone, where leaving it out is not enough."""
TRIED = "search.also"
"""The section of a search that names keys of the other sections."""


def current(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a stored config with today's names. What it lacks stays lacking, unknown keys stay.

    Settings that earlier versions ignored, because the network has no such setting, are left out. The weight of pull,
    which stood beside that of both tag terms, is merged into it.
    """
    result = _copy(tree)
    _leave_out_ignored_settings(result.get("model"))
    _merge_pull_weight(result.get("loss"))
    for old, new in RENAMED.items():
        for above in ("", f"{TRIED}."):
            _move(result, above + old, None if new is None else above + new)
    return result


def current_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a section `model` that was stored alone."""
    section: dict[str, Any] = current({"model": model})["model"]
    return section


def current_key(key: str) -> str | None:
    """Today's name of a dotted key; None where nothing took its place."""
    above = f"{TRIED}." if key.startswith(f"{TRIED}.") else ""
    key = key.removeprefix(above)
    for old, new in RENAMED.items():
        if key == old:
            if new is None:
                return None
            key = new
    return above + key


def first_key(key: str) -> str:
    """The name that a key had when it was first stored: names that are made of keys stay what they were."""
    for old, new in reversed(list(RENAMED.items())):
        if key == new:
            key = old
    return key


def _leave_out_ignored_settings(model: Any) -> None:
    """Take what the network has not out of a section `model`; of an unknown network nothing is known."""
    if isinstance(model, dict) and model.get("name") in names():
        for key in set(get_args(Setting)) - set(settings_of(model["name"])):
            model.pop(key, None)


def _merge_pull_weight(loss: Any) -> None:
    """tag * (pull_weight * pull + push_weight * push) as the same sum with a weight of 1 for pull."""
    if not isinstance(loss, dict) or loss.get("pull_weight", 1) == 1:
        return
    pull = loss["pull_weight"]
    loss["tag_weight"] = loss.get("tag_weight", 0.001) * pull
    if pull:
        loss["push_weight"] = loss.get("push_weight", 1) / pull
    else:
        log.warning("a stored config has loss.pull_weight=0, push without pull: a run of it goes on without a tag loss")


def _move(tree: dict[str, Any], old: str, new: str | None) -> None:
    section, name = _section(tree, old, make=False)
    if section is None or name not in section:
        return
    value = section.pop(name)
    if new is not None:
        section, name = _section(tree, new, make=True)
        if section is not None:
            section.setdefault(name, value)


def _section(tree: dict[str, Any], key: str, *, make: bool) -> tuple[dict[str, Any] | None, str]:
    """The section that holds a key; None where there is none."""
    *parents, name = key.split(".")
    node: Any = tree
    for parent in parents:
        node = node.setdefault(parent, {}) if make else node.get(parent)
        if not isinstance(node, dict):
            return None, name
    return node, name


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
