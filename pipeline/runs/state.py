"""The whole state of a run between two steps: taken as copies, put back to the last bit."""

import logging
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.marks import keys_marked
from pipeline.config.tree import Config
from pipeline.data.order import Cursor
from pipeline.training.stepper import Stepper

log = logging.getLogger(__name__)


def capture(
    stepper: Stepper,
    *,
    step: int,
    cursor: Cursor,
    config: Config,
    metrics: Mapping[str, float],
    validated: Mapping[str, float],
) -> Checkpoint:
    """The state after `step` steps, as copies on the CPU that further training does not touch.

    Args:
        stepper: the network and what trains it.
        step: steps behind it.
        cursor: where the data goes on.
        config: the whole tree.
        metrics: of the state itself; empty where it was not validated.
        validated: of the last validation, which may have been before.
    """
    own = stepper.network.state_dict()
    average = stepper.average
    return Checkpoint(
        url="",
        step=step,
        config=config.tree(),
        weights=_copied(average.weights() if average else own),
        metrics=dict(metrics),
        training={
            "network": _copied(own),
            "average_updates": average.updates if average else 0,
            "optimiser": _copied(stepper.optimiser.state_dict()),
            "cursor": {"epoch": cursor.epoch, "step": cursor.step},
            **stepper.skips(),
            "validated": dict(validated),
            "random": random_states(),
        },
    )


def restore(saved: Checkpoint, stepper: Stepper, config: Config) -> Cursor:
    """Put a saved state back; where the data goes on.

    Raises:
        ValueError: the checkpoint is of another network.
    """
    warn_of_changes(saved.config, config)
    training = saved.training
    checkpoint.load_weights(stepper.network, training["network"], saved.url)
    stepper.keep_statistics()
    if stepper.average:
        stepper.average.load(dict(saved.weights), training["average_updates"])
    load_optimiser(stepper.optimiser, training["optimiser"], saved.url)
    stepper.restore_skips(training)
    set_random_states(training["random"])
    return Cursor(**training["cursor"])


def load_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any], origin: str) -> None:
    """Take up an optimiser's moments, and keep the settings that the config gives it now.

    Raises:
        ValueError: it trained other parameters.
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups]
    try:
        optimiser.load_state_dict(dict(saved))
    except ValueError as error:
        raise ValueError(
            f"checkpoint {origin} is of a run that trained other parameters ({error}); set train.freeze as it was, or "
            "start a run of another name with train.init_from"
        ) from error
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        group.update(own)


def newest(run_url: str) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole and undamaged; None where the run has saved none yet.

    Raises:
        ValueError: there are some, and all are damaged: a run is not begun anew in their place unasked.
    """
    folders = checkpoint.folders(run_url)
    for url in reversed(folders):
        try:
            return checkpoint.load(url, training=True)
        except (ValueError, FileNotFoundError) as error:
            log.warning("resuming from an older checkpoint: %s", error)
            last = error
    if folders:
        raise ValueError(
            f"{run_url} cannot be resumed: none of its {len(folders)} checkpoints can be read (the oldest: {last}); "
            "mend one, or delete its folder checkpoints/ to begin anew, or take another name"
        )
    return None


SAME_RUN = ("model", "loss", "data")
"""Sections that say what the network computes and what it is trained for: with others it is another run."""


def check_same_run(before: Mapping[str, Any], config: Config, url: str) -> None:
    """Refuse to go on from a checkpoint under settings by which its network would be another.

    Args:
        before: the checkpoint's own config.
        config: that of the run that would resume it.
        url: the checkpoint's address, for messages.

    Raises:
        ValueError: they differ, and `train.resume_changed` does not allow it; names every key with both values.
    """
    now = config.tree()
    changed = [
        f"{section}.{key} is {value!r} and was {before[section][key]!r}"
        for section in SAME_RUN
        for key, value in now[section].items()
        if key in before.get(section, {}) and before[section][key] != value
    ]
    if changed and not config.train.resume_changed:
        raise ValueError(
            f"{url} was trained with other settings: {'; '.join(changed)}. Set them as they were, take another name "
            "(train.init_from takes the weights), or allow it by train.resume_changed=true"
        )
    for change in changed:
        log.warning("the run goes on with changed settings: %s", change)


def warn_of_changes(before: Mapping[str, Any], config: Config) -> None:
    """Say which settings that decide the order of the images are not those the run began with."""
    now = config.tree()
    for key in keys_marked("order"):
        old, new = before, now
        for part in key.split("."):
            old, new = old.get(part, {}), new[part]
        if old != new:
            log.warning("%s was %r when the checkpoint was saved and is %r: the order of images changes", key, old, new)


def seed_all(seed: int) -> None:
    """Begin every generator of this process anew."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def random_states() -> dict[str, Any]:
    """Of every generator of this process."""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": {"key": torch.from_numpy(numpy["state"]["key"].copy()), "pos": int(numpy["state"]["pos"])},
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Put generators back; those of GPUs only where there are as many as before."""
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    key = states["numpy"]["key"].numpy()
    np.random.set_state(("MT19937", key, states["numpy"]["pos"], 0, 0.0))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(below) for below in value)
    return value
