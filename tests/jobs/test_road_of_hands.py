"""The whole road with keypoints that are not COCO's: 21 points of hands, from the drawn set to an exported file."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lhrnet.skeleton import SKELETONS

DEMO = str(Path(__file__).resolve().parents[2] / "jobs/configs/demo.yaml")


def lhrnet(*words: object) -> str:
    """What a verb prints; it must succeed."""
    done = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


def told(*words: object) -> dict[str, Any]:
    """What a verb says as JSON."""
    found: dict[str, Any] = json.loads(lhrnet(*words, "--json").splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn hands, their shards, and a run that was trained on them for two steps."""
    folder = tmp_path_factory.mktemp("road")
    drawing = "--skeleton hand --train 16 --val 3 --test 0 --size 96 --workers 1"
    lhrnet("draw", folder / "drawn", *drawing.split())
    lhrnet("shard", folder / "drawn", folder / "shards", "--per-shard", 4, "--workers", 1)
    settings = (
        f"name=hands storage={folder}/runs data.train={folder}/shards/train2017 data.val={folder}/shards/val2017 "
        "tracking.enabled=false train.workers=1 train.steps=2 train.global_batch=4 train.micro_batch=4 "
        "train.precision=fp32 model.input_size=64 stream.lanes=4 evaluate.workers=0"
    )
    assert told("train", "--here", "-c", DEMO, *settings.split())["steps"] == 2
    return folder


def test_the_report_of_hands_speaks_of_their_points(folder: Path) -> None:
    lhrnet("report", folder / "runs/hands", "--out", folder / "report", "--pictures", 1)
    (figures,) = json.loads((folder / "report/report.json").read_text())
    assert 0 <= figures["scores"]["ap"] <= 1
    assert list(figures["keypoint_oks"]) == list(SKELETONS["hand"].keypoints)
    assert list(figures["errors"]["keypoints"]) == list(SKELETONS["hand"].keypoints)


def test_the_exported_file_finds_the_hands_that_the_checkpoint_finds(folder: Path) -> None:
    lhrnet("export", folder / "runs/hands", "--out", folder / "network.onnx")
    found = []
    for name, model in (("torch", folder / "runs/hands"), ("onnx", folder / "network.onnx")):
        lhrnet("predict", folder / "drawn/val2017", "-m", model, "-o", folder / name, "--min-score", 0)
        found.append(json.loads((folder / name / "results.json").read_text()))
        pictures = list((folder / name).rglob("*.jpg"))
        assert len(pictures) == 3
        assert all(cv2.imread(str(path)) is not None for path in pictures)
    assert len(found[0]) == len(found[1]) > 0
    assert {len(hand["keypoints"]) for hands in found for hand in hands} == {3 * SKELETONS["hand"].count}
