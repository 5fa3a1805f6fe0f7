"""What is said about a run while it goes, and its whole state between two steps."""

import io
import logging
import random
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.tree import parse
from pipeline.runs import state
from pipeline.tracking.monitor import Monitor
from pipeline.tracking.progress import Progress
from pipeline.tracking.tracker import NullTracker


class Listening(NullTracker):
    """Keeps the rows instead of sending them."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def metrics(self, values: Any, step: int) -> None:
        self.rows.append((step, dict(values)))


def watched() -> tuple[Monitor, Listening, Progress]:
    tracker, progress = Listening(), Progress(1600, "train a", file=io.StringIO())
    return Monitor(tracker, progress, global_batch=16, device=torch.device("cpu")), tracker, progress


def test_a_row_names_losses_rate_times_and_the_machine() -> None:
    watch, tracker, _ = watched()
    for _ in range(5):
        watch.stepped(0.5)
    watch.row({"loss": 0.2, "time/data_wait": 0.1}, step=5, lr=0.01)
    (step, row), *_ = tracker.rows
    assert step == 5
    assert (row["train/loss"], row["train/lr"], row["time/data_wait"]) == (0.2, 0.01, 0.1)
    assert row["train/images_per_second"] == pytest.approx(32)
    assert row["system/process_gb"] > 0
    assert watch.waited == pytest.approx(0.5)


def test_the_rate_is_that_of_the_steps_since_the_last_row() -> None:
    watch, tracker, _ = watched()
    watch.stepped(100.0)
    watch.row({}, step=1, lr=0.01)
    watch.stepped(1.0)
    watch.row({}, step=2, lr=0.01)
    assert tracker.rows[1][1]["train/images_per_second"] == pytest.approx(16)


def test_the_line_tells_loss_and_ap() -> None:
    watch, _, progress = watched()
    watch.row({"loss": 0.1234}, step=1, lr=0.01)
    watch.validated({"val/ap": 0.456}, step=1)
    watch.stepped(0.1)
    assert progress.line().endswith("loss 0.1234, AP 0.456")


def test_the_line_of_a_resumed_run_tells_the_ap_it_had() -> None:
    progress = Progress(1600, "train a", file=io.StringIO())
    Monitor(Listening(), progress, global_batch=16, device=torch.device("cpu"), ap=0.456).stepped(0.1)
    assert progress.line().endswith("AP 0.456")


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_every_generator_goes_on_where_it_was() -> None:
    state.seed_all(3)
    draw()
    saved = state.random_states()
    expected = [draw(), draw()]
    state.seed_all(4)
    state.set_random_states(saved)
    assert [draw(), draw()] == expected


def test_settings_that_change_the_order_of_images_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    tree = {"name": "a", "storage": "/s", "data": {"train": "/t", "val": "/v"}}
    before = parse(tree).tree()
    with caplog.at_level(logging.WARNING):
        state.warn_of_changes(before, parse(tree | {"optim": {"lr": 0.1}}))
        assert caplog.messages == []
        state.warn_of_changes(before, parse(tree | {"seed": 5, "stream": {"lanes": 32}}))
    assert [message.split()[0] for message in caplog.messages] == ["seed", "stream.lanes"]
