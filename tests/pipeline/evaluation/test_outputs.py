"""What an evaluation leaves behind, and where."""

from pathlib import Path

import numpy as np
import pytest

from lhrnet.skeleton import COCO
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.outputs import prediction_pictures, protocol_label, run_folder, write_files
from pipeline.evaluation.predictions import Latency, Predictions
from pipeline.evaluation.worker import EvaluateConfig


@pytest.mark.parametrize(
    ("url", "belongs"),
    [
        ("s3://b/runs/mine/checkpoints/step-00000003", "s3://b/runs/mine"),
        ("/somewhere/copied", "/somewhere/copied"),
        ("https://example.org/runs/theirs/checkpoints/step-00000003", "s3://b/runs/configs"),
    ],
)
def test_files_belong_to_the_run_that_the_checkpoint_is_of(url: str, belongs: str) -> None:
    assert run_folder(Checkpoint(url=url, step=3, config={}, weights={}), "s3://b/runs/configs") == belongs


def test_another_input_size_than_the_networks_own_has_names_of_its_own() -> None:
    checkpoint = Checkpoint(url="x", step=3, config={"model": {"r": -4, "input_size": 64}}, weights={})
    names = [protocol_label(EvaluateConfig(protocol="flip", size=size), checkpoint) for size in (None, 64, 128)]
    assert names == ["flip", "flip", "flip-128"]


def test_each_picture_is_drawn_and_one_sheet_shows_all(tmp_path: Path) -> None:
    image = np.full((80, 60, 3), 128, np.uint8)
    person = {"image_id": 3, "category_id": 1, "keypoints": [20, 30, 1] * 17, "score": 0.9}
    latency = Latency(resize_ms=0, network_ms=1, decode_ms=1, device="d", batch=1)
    found = Predictions(detections=(person,), image_ids=(3, 4), latency=latency, pictures={3: image, 4: image})
    drawn = prediction_pictures(found, COCO)
    assert sorted(drawn) == ["pictures/000000000003.jpg", "pictures/000000000004.jpg", "pictures/all.jpg"]
    assert drawn["pictures/000000000003.jpg"] != drawn["pictures/000000000004.jpg"], "the person is drawn"
    write_files(str(tmp_path / "out"), drawn)
    assert (tmp_path / "out" / "pictures" / "all.jpg").read_bytes().startswith(b"\xff\xd8")


def test_no_pictures_asked_for_are_no_files() -> None:
    latency = Latency(resize_ms=0, network_ms=1, decode_ms=1, device="d", batch=1)
    assert prediction_pictures(Predictions(detections=(), image_ids=(), latency=latency, pictures={}), COCO) == {}
