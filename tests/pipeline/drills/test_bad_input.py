"""What training is fed: a damaged shard, steps that are not finite, a disk without room for the cache."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoints import checkpoint
from pipeline.data.index import read_index
from pipeline.storage import store

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]


def test_a_shard_damaged_in_the_middle_ends_the_run_at_once_and_mended_it_goes_on(
    stack: Any, drill: Any, tell: Any, own_shards: Path
) -> None:
    drill.address = stack.ray_address
    drill.tree["data"]["train"] = str(own_shards / "train2017")
    process = drill.start()
    drill.until_saved(20)
    victim = own_shards / "train2017" / read_index(str(own_shards / "train2017")).shards[2].name
    whole = victim.read_bytes()
    victim.write_bytes(whole[:900] + bytes([whole[900] ^ 1]) + whole[901:])
    damaged = time.time()
    process.communicate(timeout=120)
    noticed = time.time() - damaged
    assert process.returncode == 1
    assert re.search(rf"training of drill failed: .*{victim.name} has sha256", drill.said(process))
    assert drill.said(process).count("Started training worker group") == 1, "it was not tried again"
    victim.write_bytes(whole)
    told = drill.end(drill.start())
    assert (told["finished"], told["steps"]) == (True, 150)
    lost, seconds = drill.price(damaged, told["resumed_from"])
    note = f"the run ends after {noticed:.0f} s and names the shard; mended and submitted again"
    tell("a corrupt shard, `on_damage=fail`", lost=lost, seconds=seconds, note=note)


def test_a_shard_damaged_in_the_middle_can_be_passed_by(drill: Any, tell: Any, own_shards: Path) -> None:
    folder = own_shards / "train2017"
    victim = folder / read_index(str(folder)).shards[2].name
    drill.tree["data"]["train"] = str(folder)
    drill.tree["stream"]["on_damage"] = "skip"
    drill.tree["train"] |= {"workers": 1, "steps": 40}
    process = drill.start("--here")
    drill.until_saved(20)
    victim.write_bytes(victim.read_bytes()[:-512])
    told = drill.end(process)
    assert (told["finished"], told["steps"], told["resumed_from"]) == (True, 40, 0)
    assert len(drill.rows()) == 40
    assert "places are left empty" in drill.said(process)
    assert drill.figure("train/empty_places_first_worker") > 0
    tell("a corrupt shard, `on_damage=skip`", lost=0, seconds=0, note="goes on, the shard's places empty")


def test_steps_that_are_never_finite_end_the_run_without_another_try(
    stack: Any, drill: Any, tell: Any, tmp_path: Path
) -> None:
    drill.tree["train"] |= {"steps": 1, "workers": 1}
    good = checkpoint.load(drill.end(drill.start("--here", "name=good"))["checkpoint"])
    name = next(name for name, tensor in good.weights.items() if tensor.is_floating_point())
    weights = {**good.weights, name: torch.full_like(good.weights[name], float("nan"))}
    checkpoint.save(replace(good, url="", weights=weights), str(tmp_path / "poisoned"))
    drill.address = stack.ray_address
    drill.tree["train"] |= {"steps": 500, "workers": 2, "init_from": str(tmp_path / "poisoned"), "max_nonfinite": 5}
    process = drill.start()
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.search(r"training of drill failed: \d+ steps in a row had a gradient", drill.said(process))
    assert drill.said(process).count("Started training worker group") == 1, "it was not tried again"
    tell("no step is finite any more", lost=0, seconds=0, note="the run ends after `max_nonfinite` steps")


def test_a_full_disk_under_the_cache_costs_nothing(
    drill: Any, tell: Any, s3: str, drawn_shards: Path, small_disk: Callable[[int], Path]
) -> None:
    for file in sorted((drawn_shards / "train2017").iterdir()):
        store.put_file(file, f"{s3}/train2017/{file.name}")
    disk = small_disk(100_000)
    (disk / "other").write_bytes(bytes(shutil.disk_usage(disk).free - 4096))
    drill.tree["data"]["train"] = f"{s3}/train2017"
    drill.tree["stream"]["cache"] = str(disk / "cache")
    drill.tree["train"] |= {"workers": 1, "steps": 40}
    process = drill.start("--here")
    told = drill.end(process)
    assert (told["finished"], told["steps"], told["resumed_from"]) == (True, 40, 0)
    assert f"the disk of the cache {disk / 'cache'} is full" in drill.said(process)
    tell("the cache's disk is full", lost=0, seconds=0, note="shards are read without the cache")
