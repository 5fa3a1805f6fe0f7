"""docs/own-data.md's six commands run as printed, on an export of CVAT made here: smaller, and otherwise the same."""

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lhrnet.skeleton import SKELETONS
from pipeline.data.index import read_index
from pipeline.scenes.synthetic import SceneConfig, write_coco

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("train.steps=4", "train.global_batch=4", "train.micro_batch=4", "train.precision=fp32", "model.input_size=64")
"""Laid over the training command: seconds in place of an hour."""


def road() -> list[list[str]]:
    """The words of each command of the page's first block, after `lhrnet`."""
    block = re.search(r"(?:^ {4}lhrnet .*\n)+", (ROOT / "docs" / "own-data.md").read_text(), re.MULTILINE)
    assert block
    return [shlex.split(line, comments=True)[1:] for line in block.group().splitlines()]


def export(path: Path) -> None:
    """Drawn people with 14 joints, zipped as CVAT does: one subset, and a second label, which has no points."""
    small = SceneConfig(size=96)
    folder = write_coco(path.parent / "drawn", train=24, val=0, seed=3, config=small, skeleton="lsp", workers=1)
    tree = json.loads((folder / "annotations" / "person_keypoints_train2017.json").read_text())
    tree["categories"].append({"id": 2, "name": "ball", "supercategory": "", "keypoints": [], "skeleton": []})
    first = tree["images"][0]["id"]
    ball = {"id": 10**6, "image_id": first, "category_id": 2, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    tree["annotations"].append({**ball, "segmentation": [], "attributes": {"occluded": False}})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations/person_keypoints_default.json", json.dumps(tree))
        for picture in sorted((folder / "train2017").iterdir()):
            archive.write(picture, f"images/default/{picture.name}")


def test_the_road_has_six_commands() -> None:
    assert [" ".join(words[:2]) if words[0] == "data" else words[0] for words in road()] == [
        *("data import", "data skeleton", "shard", "train", "report", "promote")
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stranger_goes_from_an_export_to_a_promoted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "export.zip")
    said = {}
    for words in road():
        typed = [word.replace("jobs/configs", str(ROOT / "jobs" / "configs")) for word in words]
        done = CliRunner().invoke(app, [*typed, *(SMALL if typed[0] == "train" else ())])
        assert done.exit_code == 0, f"{typed}: {done.output}{done.exception}"
        said[typed[0] if typed[0] != "data" else typed[1]] = done.output
    assert "annotations of category 'ball' are left away" in said["import"]
    assert "are set aside as val" in said["import"]
    for name in ("taken/samples.png", "skeleton.png", "skeleton.yaml", "runs/first", "mlflow.db"):
        assert (tmp_path / name).exists(), name
    index = read_index("shards/train")
    assert index.skeleton == SKELETONS["lsp"]
    assert index.images + read_index("shards/val").images == 24
    assert "version 1 is the champion of lightweight-hrnet" in said["promote"]
