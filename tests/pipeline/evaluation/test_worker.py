"""Evaluation: every image once, the same people whatever the number of workers, figures from the one scorer."""

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lhrnet.metrics.coco_eval import score
from lhrnet.network.config import ModelConfig
from lhrnet.network.registry import create_model
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.data.index import Shard, ShardIndex, read_index, truth
from pipeline.evaluation import predictions
from pipeline.evaluation.detect import check_complete
from pipeline.evaluation.evaluate import evaluate, scored_profile
from pipeline.evaluation.predictions import Predictions, evenly_spaced, predict_split, shard_slices, workers_that_fit
from pipeline.evaluation.worker import EvaluateConfig

SMALL = EvaluateConfig(window=4, batch=2, pictures=3)


@pytest.fixture(scope="module")
def shards(make_shards: Callable[..., Path]) -> str:
    return str(make_shards(val=14, test=3, per_shard=6))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    model = ModelConfig(r=-4, input_size=64)
    torch.manual_seed(0)
    network = create_model(model)
    return Checkpoint(url="x", step=7, config={"model": dataclasses.asdict(model)}, weights=network.state_dict())


def _index(counts: list[int]) -> ShardIndex:
    shards, first = [], 1
    for number, images in enumerate(counts):
        zeros = (0,) * images
        ids = tuple(range(first, first + images))
        first += images
        shards.append(
            Shard(
                name=f"{number}.tar", count=images, bytes=1, sha256="0" * 64, source="", image_ids=ids,
                annotations=zeros, keypoints=zeros,
            )
        )  # fmt: skip
    return ShardIndex(
        dataset="d", split="s", annotation_sha256="", truth_sha256="", per_shard=max(counts), images=sum(counts),
        annotations=0, keypoints=0, bytes=len(counts), shards=tuple(shards),
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("counts", [[1], [64, 64, 3], [256, 17], [9] * 12])
def test_slices_cover_every_image_once_and_end_at_windows(counts: list[int], workers: int) -> None:
    slices = shard_slices(_index(counts), window=8, workers=workers)
    covered = [(part.shard, place) for part in slices for place in range(part.start, part.stop)]
    assert covered == [(shard, place) for shard, count in enumerate(counts) for place in range(count)]
    assert all(part.start % 8 == 0 for part in slices)


def test_more_workers_get_more_slices_of_one_shard() -> None:
    assert len(shard_slices(_index([256]), window=8, workers=0)) == 1
    assert len(shard_slices(_index([256]), window=8, workers=4)) >= 12


def test_pictures_are_evenly_spaced_over_the_split() -> None:
    assert evenly_spaced((9, 1, 5, 3, 7, 11), 3) == (1, 5, 9)
    assert evenly_spaced((2, 1), 8) == (1, 2)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([1, 2], r"1 missing \(such as 3\)"),
        ([1, 2, 3, 3], "more than once"),
        ([1, 2, 3, 9], r"1 unknown \(such as 9\)"),
    ],
)
def test_an_image_missing_twice_or_foreign_is_an_error(seen: list[int], says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        check_complete(seen, (1, 2, 3), "shards/val2017")


def _predict(checkpoint: Checkpoint, shards: str, config: EvaluateConfig, seen: Any = None) -> Predictions:
    url = f"{shards}/val2017"
    return predict_split(checkpoint, url, read_index(url), config, progress=seen)


def test_every_image_of_the_split_is_looked_at_and_at_most_twenty_people_are_kept(
    checkpoint: Checkpoint, shards: str
) -> None:
    counts: list[int] = []
    found = _predict(checkpoint, shards, SMALL, counts.append)
    index = read_index(f"{shards}/val2017")
    assert found.image_ids == tuple(sorted(index.image_ids))
    assert sum(counts) == index.images == 14
    per_image = np.unique([d["image_id"] for d in found.detections], return_counts=True)[1]
    assert 1 <= per_image.max() <= 20
    assert len(found.pictures) == 3
    assert found.latency.network_ms > 0
    assert "thread" in found.latency.device


def test_a_slice_that_gets_lost_stops_the_evaluation(
    checkpoint: Checkpoint, shards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "shard_slices", lambda *args, **more: shard_slices(*args, **more)[1:])
    with pytest.raises(RuntimeError, match="nothing was scored"):
        _predict(checkpoint, shards, SMALL)


@pytest.mark.parametrize("last", [0, -1])
def test_every_device_that_worked_is_named_whichever_was_first(
    checkpoint: Checkpoint, shards: str, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    def two_kinds(*work: Any) -> Any:
        done = list(alone(*work))
        done[last] = dataclasses.replace(done[last], device="Tesla T4")
        return done

    alone = predictions._in_process
    monkeypatch.setattr(predictions, "_in_process", two_kinds)
    device = _predict(checkpoint, shards, SMALL).latency.device
    assert device.endswith(" thread + Tesla T4")
    assert device.count(" + ") == 1


@pytest.mark.stack
@pytest.mark.parametrize("workers", [1, 3])
def test_the_cluster_finds_the_same_people_to_the_last_digit(
    checkpoint: Checkpoint, shards: str, ray_cluster: object, workers: int
) -> None:
    alone = _predict(checkpoint, shards, SMALL)
    together = _predict(checkpoint, shards, dataclasses.replace(SMALL, workers=workers, cpus_per_worker=0.5))
    assert together.detections == alone.detections
    assert together.image_ids == alone.image_ids
    assert all(np.array_equal(together.pictures[i], image) for i, image in alone.pictures.items())


def test_as_many_workers_are_started_as_there_is_room_for() -> None:
    config = dataclasses.replace(SMALL, workers=8, cpus_per_worker=1.5, gpus_per_worker=0.5)
    assert workers_that_fit(config, [{"CPU": 4.0, "GPU": 4.0}]) == 2
    assert workers_that_fit(config, [{"CPU": 64.0, "GPU": 1.0}] * 2) == 4
    assert workers_that_fit(config, [{"CPU": 64.0, "GPU": 8.0}]) == 8
    with pytest.raises(ValueError, match="gpus_per_worker"):
        workers_that_fit(config, [{"CPU": 64.0}])
    with pytest.raises(ValueError, match=r"the cluster \(4 nodes of 1 CPU\)"):
        workers_that_fit(dataclasses.replace(SMALL, workers=4, cpus_per_worker=2.0), [{"CPU": 1.0}] * 4)
    shares = dataclasses.replace(SMALL, workers=9, cpus_per_worker=0.0, gpus_per_worker=0.4)
    assert workers_that_fit(shares, [{"CPU": 1.0, "GPU": 2.0}]) == 4, "a share is of one GPU"
    assert workers_that_fit(config, [{"memory": 8e9}]) == 8, "a head that takes no work has workers brought"
    assert workers_that_fit(config, [{"memory": 8e9}, {"CPU": 64.0, "GPU": 1.0}]) == 8, "and so has one with too few"


@pytest.mark.stack
def test_a_worker_that_is_killed_is_replaced_and_changes_nothing(
    checkpoint: Checkpoint, shards: str, ray_cluster: object
) -> None:
    from ray.util.state import list_actors

    config = dataclasses.replace(SMALL, window=1, protocol="multi-scale")
    before = {actor.actor_id for actor in list_actors(limit=1000)}
    killed: list[int] = []

    def kill_one(images: int) -> None:
        if not killed:
            alive = [a for a in list_actors(detail=True, limit=1000) if a.state == "ALIVE" and a.actor_id not in before]
            killed.append(alive[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    url = f"{shards}/val2017"
    together = dataclasses.replace(config, workers=2, cpus_per_worker=0.5)
    found = predict_split(checkpoint, url, read_index(url), together, progress=kill_one)
    assert killed
    assert found.detections == _predict(checkpoint, shards, config).detections


@pytest.mark.stack
def test_a_worker_that_the_cluster_has_no_room_for_is_an_error(
    checkpoint: Checkpoint, shards: str, ray_cluster: object
) -> None:
    with pytest.raises(ValueError, match=r"500 CPU and 0 GPU does not fit the cluster \(1 node of 4 CPU\)"):
        _predict(checkpoint, shards, dataclasses.replace(SMALL, workers=1, cpus_per_worker=500))


@pytest.mark.stack
def test_a_worker_that_cannot_start_is_one_clear_line(checkpoint: Checkpoint, shards: str, ray_cluster: object) -> None:
    apart = dataclasses.replace(SMALL, workers=1, cpus_per_worker=0.5)
    other = dataclasses.replace(checkpoint, config={"model": {"r": -3, "input_size": 64}})
    with pytest.raises(ValueError, match=r"^checkpoint x is of another network"):
        _predict(other, shards, apart)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"^a worker could not start: .*evaluate\.device is 'cuda'") as no:
            _predict(checkpoint, shards, dataclasses.replace(apart, device="cuda"))
        assert "\n" not in str(no.value)


@pytest.mark.stack
def test_a_workers_error_names_the_damaged_shard(
    checkpoint: Checkpoint, shards: str, ray_cluster: object, tmp_path: Path
) -> None:
    broken = _damaged(shards, tmp_path)
    index = read_index(broken)
    with pytest.raises(ValueError, match="it was cut or changed"):
        predict_split(checkpoint, broken, index, dataclasses.replace(SMALL, workers=1, cpus_per_worker=0.5))


def test_a_damaged_shard_is_an_error(checkpoint: Checkpoint, shards: str, tmp_path: Path) -> None:
    broken = _damaged(shards, tmp_path)
    with pytest.raises(ValueError, match="it was cut or changed"):
        evaluate(checkpoint, broken, SMALL)


def _damaged(shards: str, to: Path) -> str:
    for file in Path(shards, "val2017").iterdir():
        data = file.read_bytes()
        (to / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".tar" else data)
    return str(to)


def test_the_figures_are_those_of_the_one_scorer_and_name_protocol_and_data(
    checkpoint: Checkpoint, shards: str
) -> None:
    found = evaluate(checkpoint, f"{shards}/val2017", dataclasses.replace(SMALL, protocol="flip"))
    assert found.scores == score(truth(f"{shards}/val2017"), found.predictions.detections)
    stored = found.as_dict()
    assert stored["protocol"]["name"] == "flip"
    assert stored["protocol"]["size"] == 64
    assert stored["protocol"]["grouping"]["detection_threshold"] > 0
    assert (stored["data"]["split"], stored["data"]["images"], stored["step"]) == ("val2017", 14, 7)
    assert len(stored["data"]["index_sha256"]) == 64
    assert stored["params"] > 1_000_000


def test_operations_are_counted_at_the_size_that_is_scored(checkpoint: Checkpoint) -> None:
    own, double = (scored_profile(checkpoint.model, dataclasses.replace(SMALL, size=size)).macs for size in (None, 128))
    assert own == scored_profile(checkpoint.model, dataclasses.replace(SMALL, size=64)).macs
    assert double == 4 * own
    assert scored_profile(checkpoint.model, dataclasses.replace(SMALL, size=100)).input_size == (128, 128), (
        "as it is rounded up"
    )


def test_a_split_without_annotations_is_refused_with_the_way_out(checkpoint: Checkpoint, shards: str) -> None:
    with pytest.raises(ValueError, match="lhrnet submit"):
        evaluate(checkpoint, f"{shards}/test-dev2017", SMALL)


def test_weights_of_another_network_are_refused(checkpoint: Checkpoint, shards: str) -> None:
    other = dataclasses.replace(checkpoint, config={"model": {"r": -3, "input_size": 64}})
    with pytest.raises(ValueError, match="another network"):
        _predict(other, shards, SMALL)


def test_weights_that_are_not_finite_are_refused_by_name(checkpoint: Checkpoint, shards: str) -> None:
    name = next(name for name, tensor in checkpoint.weights.items() if tensor.is_floating_point())
    spoilt = {**checkpoint.weights, name: torch.full_like(checkpoint.weights[name], float("nan"))}
    with pytest.raises(ValueError, match=f"checkpoint x has weights that are not finite .1, such as {name}"):
        _predict(dataclasses.replace(checkpoint, weights=spoilt), shards, SMALL)


@pytest.mark.parametrize("protocol", ["plain", "multi-scale"])
def test_maps_that_overflow_are_an_error_and_not_an_empty_result(
    checkpoint: Checkpoint, shards: str, protocol: Any
) -> None:
    large = {name: t * 1e30 if t.is_floating_point() else t for name, t in checkpoint.weights.items()}
    overflowing = dataclasses.replace(checkpoint, weights=large)
    with pytest.raises(ValueError, match="checkpoint x gives maps that are not finite"):
        _predict(overflowing, shards, dataclasses.replace(SMALL, protocol=protocol))
