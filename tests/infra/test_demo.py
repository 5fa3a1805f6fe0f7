"""The demo walks the whole road by submitted jobs, on drawn or on real images, and says which step failed."""

import json
from pathlib import Path

import pytest

from infra import demo_plan
from infra.demo import Runs, main
from infra.demo_plan import coco_source, drawn_source, search_steps, steps
from infra.stack import Stack
from infra.submission import JobError, run_job
from pipeline.config.search_space import settings as grid
from pipeline.config.tree import load

ROAD = ["shard", "train", "evaluate", "submit", "promote"]


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    folder = tmp_path / "My COCO"
    (folder / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        truth = {"images": [{"id": number} for number in range(5)], "annotations": [], "categories": []}
        (folder / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(truth))
    return folder


def test_the_road_is_walked_in_order_and_drawn_images_are_drawn_first(tiny_coco: Path) -> None:
    drawn = steps(drawn_source(tiny_coco, images=100), run="drawn-1")
    assert [step.name for step in drawn] == ["draw", *ROAD]
    assert all(step.command[:2] == ("lhrnet", step.name) for step in drawn)
    assert [step.name for step in steps(coco_source(tiny_coco), run="my-coco-1")] == ROAD


def test_the_search_has_four_settings_and_one_worker_a_trial(tiny_coco: Path) -> None:
    road = search_steps(drawn_source(tiny_coco, images=8000), run="drawn-search-1", settings=("train.steps=2",))
    assert [step.name for step in road] == ["draw", "shard", "tune"]
    words = list(road[-1].command)
    settings = load(words[words.index("-c") + 1], [word for word in words if "=" in word])
    trials = grid(settings.search, seed=0)
    assert {(trial["model.r"], trial["model.cem"]) for trial in trials} == {
        (r, cem) for r in (-4, -3) for cem in ("none", "half-reordered")
    }
    assert (settings.name, settings.train.workers, settings.train.steps) == ("drawn-search-1", 1, 2)


def test_every_step_after_sharding_knows_the_same_run_and_shards(tiny_coco: Path) -> None:
    shard, *others = steps(coco_source(tiny_coco), run="my-coco-3")
    assert shard.command[3] == "s3://lhrnet/shards/my-coco"
    for step in others:
        assert "name=my-coco-3" in step.command
        assert "data.train=s3://lhrnet/shards/my-coco/train2017" in step.command
        assert "--json" in step.command


def test_settings_of_the_caller_come_last_and_so_win(tiny_coco: Path) -> None:
    train = steps(coco_source(tiny_coco), run="r", settings=("stream.lanes=2",))[1].command
    assert train.index("stream.lanes=2") > train.index("stream.lanes=4")


def test_a_small_set_gets_small_shards_and_without_test_images_the_submission_is_rehearsed(tiny_coco: Path) -> None:
    small = {step.name: step.command for step in steps(coco_source(tiny_coco), run="r")}
    assert small["shard"][-2:] == ("--per-shard", "4")
    assert "--val" in small["submit"]
    full = {step.name: step.command for step in steps(drawn_source(tiny_coco, images=8000), run="r")}
    assert "--per-shard" not in full["shard"]
    assert "--val" not in full["submit"]


def test_a_folder_that_is_not_in_cocos_layout_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(tmp_path / "local"), "--coco", str(tmp_path / "nowhere")]) == 1
    assert f"COCO={tmp_path / 'nowhere'} is no folder" in capsys.readouterr().out
    assert main(["--dir", str(tmp_path / "local"), "--coco", str(tmp_path)]) == 1
    assert "no annotations/person_keypoints_train2017.json" in capsys.readouterr().out
    assert not (tmp_path / "local").exists()


def test_a_run_keeps_its_name_until_it_is_finished(tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    assert Runs(file).next_name("drawn") == Runs(file).next_name("drawn") == "drawn-1"
    Runs(file).finish("drawn")
    assert Runs(file).next_name("drawn") == "drawn-2"
    assert Runs(file).next_name("coco") == "coco-1"


@pytest.mark.stack
def test_a_job_is_shown_line_by_line_and_its_result_is_the_object_it_prints(ray_cluster: Stack, tmp_path: Path) -> None:
    shown: list[str] = []
    said = (
        "train x: 96/160 images, 18.2/s, 4s left",
        "(RayTrainWorker pid=7) train x: 160/160 images, 18.2/s, 9s",
        "(TrainController pid=5) Requesting resources",
        '{"ap": 0.5}',
        "/a/b.py:187: UserWarning: add hints",
        "    color_warning(",
        "it is done",
    )
    command = ("printf", "%s\\n", *said)
    result = run_job("train", command, env=ray_cluster.env, log=tmp_path / "log", show=shown.append)
    assert result == {"ap": 0.5}
    assert shown == [said[0], "train x: 160/160 images, 18.2/s, 9s", "it is done"]
    assert "succeeded" in (tmp_path / "log").read_text()


@pytest.mark.stack
def test_a_failed_job_is_an_error_with_its_name_and_the_end_of_its_log(ray_cluster: Stack, tmp_path: Path) -> None:
    command = ("sh", "-c", "echo the disk is full; exit 3")
    with pytest.raises(JobError, match=r"shard failed(.|\n)*the disk is full"):
        run_job("shard", command, env=ray_cluster.env, log=tmp_path / "log", show=lambda line: None)


@pytest.mark.parametrize("computes", [True, False])
def test_a_processor_without_bf16_trains_in_fp32(
    tiny_coco: Path, monkeypatch: pytest.MonkeyPatch, computes: bool
) -> None:
    monkeypatch.setattr(demo_plan, "cpu_computes_bf16", lambda: computes)
    train = next(step for step in steps(coco_source(tiny_coco), run="r") if step.name == "train")
    assert ("train.precision=fp32" in train.command) != computes
