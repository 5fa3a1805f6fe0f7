"""Scoring a split while training: every image once, by the scorer that `evaluate` uses."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lhrnet.metrics.coco_eval import score
from lhrnet.network import ModelConfig, create_model
from lhrnet.predictor import Predictor
from pipeline.cluster.world import World
from pipeline.data.index import read_index, truth
from pipeline.data.samples import read_samples
from pipeline.evaluation import validate as module
from pipeline.evaluation.detect import Detections, detect
from pipeline.evaluation.validate import validate


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model(ModelConfig(r=-4, input_size=64)).eval()


@pytest.fixture
def val(drawn_shards: Path) -> str:
    return str(drawn_shards / "val2017")


class Perfect:
    """Stands for `predict`: answers with what is annotated."""

    def __init__(self, url: str) -> None:
        self.truth = truth(url)

    def detections(self, ids: list[int]) -> list[dict[str, Any]]:
        people = [a for a in self.truth["annotations"] if a["image_id"] in ids and a["num_keypoints"]]
        return [
            {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1.0} for a in people
        ]


def test_every_image_is_looked_at_once_by_one_worker(network: nn.Module, val: str) -> None:
    found = detect(Predictor(network, 64), read_samples(val))
    assert sorted(found.image_ids) == sorted(read_index(val).image_ids)
    assert all(person["category_id"] == 1 and len(person["keypoints"]) == 51 for person in found.people)
    assert max(Counter(person["image_id"] for person in found.people).values()) == 20, "an untrained network finds 30"


def test_workers_parts_make_the_whole(network: nn.Module, val: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = validate(network, val, size=64)
    parts = [detect(Predictor(network, 64), read_samples(val, rank=r, world=3)) for r in range(3)]
    monkeypatch.setattr(World, "gather", lambda self, mine: parts)
    gathered = validate(network, val, size=64, world=World(rank=0, size=3))
    assert whole
    assert gathered
    assert gathered.images == whole.images == 20
    assert gathered.scores.ap == pytest.approx(whole.scores.ap, abs=1e-6)


def test_images_that_are_missing_or_doubled_are_no_score(
    network: nn.Module, val: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(read_index(val).image_ids)
    for wrong, says in ((ids[1:], "1 missing"), ([*ids, ids[0]], "1 more than once")):
        monkeypatch.setattr(World, "gather", lambda self, mine, wrong=wrong: [Detections(image_ids=wrong)])
        with pytest.raises(RuntimeError, match=says):
            validate(network, val, size=64)


def test_perfect_people_score_one_as_evaluate_would_say(
    network: nn.Module, val: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    perfect = Perfect(val)

    def found(network: nn.Module, samples: Any, **_: Any) -> Any:
        ids = [sample.image_id for sample in samples]
        return Detections(image_ids=ids, people=perfect.detections(ids))

    monkeypatch.setattr(module, "detect", found)
    result = validate(network, val, size=64, limit=7)
    assert result
    assert result.images == 7
    assert result.scores.ap == pytest.approx(1.0)
    assert result.threshold == 1.0
    ids = list(read_index(val).image_ids[:7])
    assert result.scores == score(perfect.truth, perfect.detections(ids), ids)
