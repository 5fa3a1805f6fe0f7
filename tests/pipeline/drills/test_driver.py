"""The driver's own ends: killed, told to leave, started twice."""

import signal
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]


def test_a_killed_driver_submitted_again_goes_on(stack: Any, drill: Any, tell: Any) -> None:
    drill.address = stack.ray_address
    first = drill.start()
    drill.until_saved(20)
    first.send_signal(signal.SIGKILL)
    killed = time.time()
    first.wait()
    told = drill.end(drill.start())
    assert (told["finished"], told["steps"]) == (True, 150)
    assert told["resumed_from"] >= 20
    lost, seconds = drill.price(killed, told["resumed_from"])
    tell("the driver is killed and submitted again", lost=lost, seconds=seconds)


def test_of_two_runs_of_one_name_the_second_is_refused(stack: Any, drill: Any, tell: Any) -> None:
    drill.address = stack.ray_address
    first = drill.start()
    drill.until_saved(20)
    begun = time.monotonic()
    second = drill.start()
    second.communicate(timeout=120)
    seconds = time.monotonic() - begun
    assert first.poll() is None
    assert second.returncode == 1
    assert "is being worked on by process" in drill.said(second)
    told = drill.end(first)
    assert (told["finished"], told["steps"], told["resumed_from"]) == (True, 150, 0)
    tell("a second run of the same name", lost=0, seconds=0, note=f"refused after {seconds:.0f} s")


def test_a_driver_told_to_end_saves_and_leaves_in_order(stack: Any, drill: Any, tell: Any) -> None:
    drill.address = stack.ray_address
    drill.tree["train"] |= {"steps": 5000, "checkpoint_every": 2000, "log_every": 5}
    process = drill.start()
    drill.until(lambda: "/40,000 images" in drill.said(process), "a progress line")
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    told = drill.end(process)
    seconds = time.monotonic() - asked
    assert not told["finished"]
    assert 0 < told["steps"] < 5000
    assert drill.saved() == told["steps"]
    tell("SIGTERM to the driver", lost=0, seconds=0, note=f"saved and left after {seconds:.0f} s")
