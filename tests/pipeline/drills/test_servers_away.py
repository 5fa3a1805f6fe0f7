"""Servers that go away while a run is on, and come back."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import store

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]

AWAY_SECONDS = 60


@pytest.fixture
def shards_in_s3(s3: str, drawn_shards: Path) -> str:
    for file in sorted(drawn_shards.rglob("*")):
        if file.is_file():
            store.put_file(file, store.join(s3, "shards", file.relative_to(drawn_shards).as_posix()))
    return f"{s3}/shards"


@pytest.mark.parametrize("cached", [False, True], ids=["shards read from it", "shards in the cache"])
def test_a_store_that_is_away_for_a_minute_is_waited_for(
    drill: Any,
    tell: Any,
    door_to: Callable[[str], Any],
    shards_in_s3: str,
    s3_server: Any,
    tmp_path: Path,
    cached: bool,
) -> None:
    door = door_to(s3_server.env["AWS_ENDPOINT_URL"])
    drill.environment = {"AWS_ENDPOINT_URL": door.address}
    drill.tree["data"] = {"train": f"{shards_in_s3}/train2017", "val": f"{shards_in_s3}/val2017"}
    drill.tree["stream"]["cache"] = str(tmp_path / "cache") if cached else ""
    drill.tree["train"]["steps"] = 300 if cached else 150
    process = drill.start()
    drill.until_saved(20)
    door.shut()
    shut = time.time()
    time.sleep(AWAY_SECONDS)
    door.reopen()
    saved = drill.saved()
    drill.until_saved(saved + 10)
    told = drill.end(process)
    assert (told["finished"], told["steps"]) == (True, drill.tree["train"]["steps"])
    if cached:
        assert told["resumed_from"] == 0
        _, longest = drill.price(shut, told["steps"])
        tell("the object store is away for a minute", lost=0, seconds=longest, note="shards in the cache: goes on")
    else:
        assert told["resumed_from"] >= 20
        lost, seconds = drill.price(shut, told["resumed_from"])
        note = f"the workers wait; on again {seconds - AWAY_SECONDS:.0f} s after it was back"
        tell("the object store is away for a minute", lost=lost, seconds=seconds, note=note)


def test_mlflow_away_for_a_whole_run_has_every_row_when_it_is_back(
    drill: Any, tell: Any, door_to: Callable[[str], Any], mlflow_server: Any
) -> None:
    door = door_to(mlflow_server.env["MLFLOW_TRACKING_URI"])
    drill.tree["tracking"]["uri"] = door.address
    drill.tree["train"] |= {"workers": 1, "steps": 40}
    process = drill.start("--here")
    drill.until(lambda: list(drill.folder.glob("spool/*/*.jsonl")), "the spool")
    door.shut()
    told = drill.end(process)
    assert (told["finished"], told["steps"]) == (True, 40)
    assert len(drill.rows()) < 40
    assert drill.run_status() == "RUNNING", "it could not be told"
    door.reopen()
    back = time.time()
    again = drill.end(drill.start("--here"))
    assert (again["resumed_from"], again["steps"], again["run_id"]) == (40, 40, told["run_id"])
    assert len(drill.rows()) == 40
    assert drill.run_status() == "FINISHED"
    seconds = time.time() - back
    tell("MLflow is away for the whole run", lost=0, seconds=0, note=f"all rows {seconds:.0f} s after it was back")
