import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lhrnet.image_file import decode
from lhrnet.losses.loss_mask import loss_mask
from pipeline.data.decode import decode_ignored
from pipeline.data.index import INDEX, TRUTH, read_index, truth
from pipeline.data.reader import open_shard, read_shard
from pipeline.sharding.plan import make_plans
from pipeline.sharding.runners import choose, over_processes
from pipeline.sharding.write import ProblemsError, SplitReport, serial, write_split
from pipeline.storage import store
from pipeline.storage.atomic import atomic


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def shard(source: Path, target: Path, *splits: str, per_shard: int = 128, **options: Any) -> list[SplitReport]:
    plans = make_plans(str(source), str(target), splits or ("train2017",), per_shard=per_shard, dataset="drawn")
    return [write_split(plan, **options) for plan in plans]


def test_the_bytes_are_the_same_whatever_the_parallelism(drawn_coco: Path, drawn_shards: Path, tmp_path: Path) -> None:
    shard(drawn_coco, tmp_path, runner=lambda tasks: over_processes(tasks, 2))
    assert files(tmp_path / "train2017") == files(drawn_shards / "train2017")


@pytest.mark.stack
def test_ray_tasks_write_the_same_bytes_to_s3(drawn_coco: Path, drawn_shards: Path, ray_cluster: Any, s3: str) -> None:
    plans = make_plans(str(drawn_coco), s3, ["train2017"], dataset="drawn")
    seen: list[int] = []
    report = write_split(plans[0], runner=choose(ray=True, workers=0), done=seen.append)
    assert (report.written, sum(seen)) == (len(plans[0].tasks), 45)
    for name, data in files(drawn_shards / "train2017").items():
        assert store.read_bytes(store.join(s3, "train2017", name)) == data


@pytest.mark.stack
def test_workers_that_are_lost_end_the_run_in_one_line(
    drawn_coco: Path, tmp_path: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sharding.runners.make_shard", lambda task: os._exit(1))
    with pytest.raises(RuntimeError, match=r"^a worker was lost.*WorkerCrashedError.*run again$"):
        shard(drawn_coco, tmp_path, per_shard=45, runner=choose(ray=True, workers=1))


def test_every_image_travels_whole_with_its_annotations(coco_mini: Path, tmp_path: Path) -> None:
    (report,) = shard(coco_mini, tmp_path)
    tree = json.loads((coco_mini / "annotations" / "person_keypoints_train2017.json").read_text())
    images = {image["id"]: image for image in tree["images"]}
    assert report.problems == ()
    assert sorted(report.index.image_ids) == sorted(images)
    ignored = 0
    for entry in report.index.shards:
        for raw in read_shard(open_shard(report.url, entry), entry.name, entry.image_ids):
            image = images[raw.image_id]
            own = sorted((a for a in tree["annotations"] if a["image_id"] == raw.image_id), key=lambda a: int(a["id"]))
            assert raw.jpeg == (coco_mini / "train2017" / image["file_name"]).read_bytes()
            assert (raw.width, raw.height, raw.file_name) == (image["width"], image["height"], image["file_name"])
            for kept, given in zip(raw.annotations, own, strict=True):
                assert kept == {key: value for key, value in given.items() if key != "segmentation"}
            counts = loss_mask(own, raw.height, raw.width)
            if raw.ignore_png is None:
                assert counts.all()
            else:
                ignored += 1
                decoded = decode_ignored(raw.ignore_png, raw.width, raw.height)
                assert np.array_equal(decoded == 0, counts)
                assert set(np.unique(decoded)) == {0, 255}
    assert ignored > 5
    assert report.index.keypoints == 800
    assert sum(len(entry.chosen("labelled")) for entry in report.index.shards) == 28


def test_plain_webdataset_reads_the_shards(drawn_shards: Path) -> None:
    from webdataset import WebDataset

    folder = drawn_shards / "train2017"
    index = read_index(str(folder))
    tars = [str(folder / entry.name) for entry in index.shards]
    samples = list(WebDataset(tars, shardshuffle=False))
    assert [int(sample["__key__"]) for sample in samples] == list(index.image_ids)
    for sample in samples:
        assert decode(sample["jpg"]).shape == (
            json.loads(sample["json"])["height"],
            json.loads(sample["json"])["width"],
            3,
        )


def test_a_second_run_reads_all_and_writes_nothing(own_shards: Path, drawn_coco: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own_shards.rglob("*")}
    reports = shard(drawn_coco, own_shards, "train2017", "val2017", "test-dev2017")
    assert [report.written for report in reports] == [0, 0, 0]
    assert {path: path.stat().st_mtime_ns for path in own_shards.rglob("*")} == before


@pytest.mark.parametrize("with_index", [True, False])
def test_a_second_run_writes_only_what_is_missing_or_wrong(
    own_shards: Path, drawn_shards: Path, drawn_coco: Path, with_index: bool
) -> None:
    tars = sorted((own_shards / "train2017").glob("*.tar"))
    tars[1].unlink()
    data = bytearray(tars[2].read_bytes())
    data[700] ^= 1
    tars[2].write_bytes(data)
    tars[3].write_bytes(tars[3].read_bytes()[:-512])
    if not with_index:
        (own_shards / "train2017" / INDEX).unlink()
    (report,) = shard(drawn_coco, own_shards)
    assert report.written == 3
    assert files(own_shards / "train2017") == files(drawn_shards / "train2017")


def test_a_changed_image_is_noticed_on_the_second_run(own_coco: Path, tmp_path: Path) -> None:
    shard(own_coco, tmp_path / "shards")
    path = sorted((own_coco / "train2017").iterdir())[0]
    path.write_bytes(path.read_bytes() + b"\0")
    (report,) = shard(own_coco, tmp_path / "shards")
    assert report.written == 1


def test_an_image_mended_at_the_same_size_is_taken_in(own_coco: Path, drawn_shards: Path, tmp_path: Path) -> None:
    path = sorted((own_coco / "train2017").iterdir())[0]
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    assert len(shard(own_coco, tmp_path / "shards")[0].problems) == 1
    path.write_bytes(whole)
    assert shard(own_coco, tmp_path / "shards")[0].problems == ()
    assert files(tmp_path / "shards" / "train2017") == files(drawn_shards / "train2017")


def test_a_split_named_twice_is_written_once(own_shards: Path, drawn_shards: Path, drawn_coco: Path) -> None:
    (report,) = shard(drawn_coco, own_shards, "val2017", "val2017")
    assert (report.written, report.problems) == (0, ())
    assert files(own_shards) == files(drawn_shards)


def test_shards_are_not_written_over_the_sources_images(own_coco: Path) -> None:
    before = files(own_coco)
    with pytest.raises(ValueError, match=r"among the files of the source.*for example .*shards"):
        shard(own_coco, own_coco)
    assert files(own_coco) == before


def test_what_others_put_beside_the_shards_stays(own_shards: Path, drawn_coco: Path) -> None:
    folder = own_shards / "val2017"
    theirs = [folder / name for name in ("mine.tar", "old/val2017-00000000-00000.tar", "train2017-00000000-00000.tar")]
    ours = folder / "val2017-00000000-00000.tar"
    for path in (*theirs, ours):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    shard(drawn_coco, own_shards, "val2017")
    assert all(path.exists() for path in theirs)
    assert not ours.exists()


def test_what_a_killed_run_was_writing_goes(own_shards: Path, drawn_shards: Path, drawn_coco: Path) -> None:
    folder = own_shards / "val2017"
    for name in (sorted(folder.glob("*.tar"))[0].name, INDEX, TRUTH):
        atomic(folder / name).__enter__().write(b"x")
    (folder / ".notes.txt").touch()
    shard(drawn_coco, own_shards, "val2017")
    assert files(folder) == {**files(drawn_shards / "val2017"), ".notes.txt": b""}


def test_a_source_is_called_the_same_from_wherever(
    drawn_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(drawn_coco / "val2017")
    (tmp_path / "link").symlink_to(drawn_coco)
    for source, name in (
        (str(drawn_coco), "coco"),
        (f"{drawn_coco}/", "coco"),
        (f"file://{drawn_coco}", "coco"),
        ("..", "coco"),
        ("../../coco/.", "coco"),
        (str(tmp_path / "link"), "link"),
    ):
        assert make_plans(source, str(tmp_path / "shards"), ["val2017"])[0].dataset == name


def test_an_index_of_another_program_is_no_hindrance(drawn_coco: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / INDEX).write_text("{}")
    (plan,) = make_plans(str(drawn_coco), str(tmp_path), ["test-dev2017"])
    assert plan.images == 10


def test_a_sources_path_does_not_say_what_its_annotations_are(drawn_coco: Path, tmp_path: Path) -> None:
    (tmp_path / "person_keypoints").symlink_to(drawn_coco)
    tree = json.loads((drawn_coco / "annotations" / "image_info_test-dev2017.json").read_text())
    (plan,) = make_plans(str(tmp_path / "person_keypoints"), str(tmp_path / "shards"), ["test-dev2017"])
    assert plan.images == len(tree["images"])
    assert all(record.annotations == () for task in plan.tasks for record in task.records)


def test_larger_shards_replace_smaller_ones(own_coco: Path, tmp_path: Path) -> None:
    shard(own_coco, tmp_path / "shards", per_shard=1)
    (report,) = shard(own_coco, tmp_path / "shards", per_shard=2)
    assert len(list((tmp_path / "shards" / "train2017").glob("*.tar"))) == len(report.index.shards) == 23


def test_a_small_split_still_gets_shards_to_share_out(drawn_shards: Path) -> None:
    assert len(read_index(str(drawn_shards / "train2017")).shards) == 15
    assert max(entry.count for entry in read_index(str(drawn_shards / "train2017")).shards) == 3


def test_shard_names_are_unique_across_splits_and_sets(drawn_shards: Path, coco_mini: Path, tmp_path: Path) -> None:
    shard(coco_mini, tmp_path, "train2017", "val2017")
    names = [path.name for root in (drawn_shards, tmp_path) for path in root.rglob("*.tar")]
    assert len(set(names)) == len(names) > 60


def test_sets_that_share_an_annotation_file_share_no_names(drawn_coco: Path, tmp_path: Path) -> None:
    names: list[str] = []
    for dataset, per_shard in (("one", 2), ("two", 2), ("one", 1)):
        (plan,) = make_plans(str(drawn_coco), str(tmp_path), ["val2017"], per_shard=per_shard, dataset=dataset)
        names += [task.url for task in plan.tasks]
    assert len(set(names)) == len(names) == 10 + 10 + 20


def _spoil_image(coco: Path, kind: str) -> int:
    path = sorted((coco / "train2017").iterdir())[4]
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "hole":
        path.write_bytes(data[: len(data) // 2] + data[-2:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no image":
        path.write_bytes(b"<html>not found</html>" * 50)
    else:
        path.write_bytes(cv2.imencode(".jpg", decode(data)[:-2])[1].tobytes())
    return int(path.stem)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("missing", "its file is not there"),
        ("cut", "no end marker"),
        ("hole", "damaged within"),
        ("empty", "is empty: 0 bytes"),
        ("no image", "is not an image"),
        ("another size", "its annotation says 96x"),
    ],
)
def test_a_bad_image_is_left_out_and_named_or_refused(own_coco: Path, tmp_path: Path, kind: str, word: str) -> None:
    image = _spoil_image(own_coco, kind)
    with pytest.raises(ValueError, match=rf"--strict.*\n.*image {image} .*{word}"):
        shard(own_coco, tmp_path / "strict", strict=True)
    assert files(tmp_path / "strict") == {}
    (report,) = shard(own_coco, tmp_path / "shards")
    assert [(left.image_id, word in left.reason) for left in report.problems] == [(image, True)]
    assert report.index.left_out == report.problems
    assert report.index.images == 44
    assert image not in report.index.image_ids
    assert image not in {entry["id"] for entry in truth(report.url)["images"]}
    (again,) = shard(own_coco, tmp_path / "shards")
    assert (again.written, again.index) == (0, report.index)


def test_a_refused_run_changes_nothing_that_an_index_lists(own_coco: Path, own_shards: Path) -> None:
    _spoil_image(own_coco, "cut")
    tars = sorted((own_shards / "train2017").glob("*.tar"))
    tars[2].write_bytes(b"damaged")
    tars[3].unlink()
    before = files(own_shards)
    with pytest.raises(ProblemsError, match="1 problems, and --strict allows none") as error:
        shard(own_coco, own_shards, strict=True)
    assert len(error.value.problems) == 1
    assert files(own_shards) == before


def test_a_strict_run_without_problems_mends_what_an_index_lists(
    own_shards: Path, drawn_shards: Path, drawn_coco: Path
) -> None:
    tars = sorted((own_shards / "train2017").glob("*.tar"))
    tars[2].write_bytes(b"damaged")
    tars[3].unlink()
    (report,) = shard(drawn_coco, own_shards, strict=True)
    assert report.written == 2
    assert files(own_shards) == files(drawn_shards)


def test_a_run_without_a_good_image_leaves_the_shards_that_are_there(own_coco: Path, own_shards: Path) -> None:
    before = files(own_shards)
    for path in (own_coco / "train2017").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ValueError, match="none of 45 images is good"):
        shard(own_coco, own_shards)
    assert files(own_shards) == before


def test_a_segmentation_that_is_none_is_its_images_problem(own_coco: Path, tmp_path: Path) -> None:
    path = own_coco / "annotations" / "person_keypoints_val2017.json"
    tree = json.loads(path.read_text())
    annotation = next(a for a in tree["annotations"] if a["iscrowd"] or not a["num_keypoints"])
    annotation["segmentation"] = [[1, 2]]
    path.write_text(json.dumps(tree))
    (report,) = shard(own_coco, tmp_path / "shards", "val2017")
    assert [(left.image_id, "segmentation" in left.reason) for left in report.problems] == [
        (annotation["image_id"], True)
    ]


def test_a_bad_image_moves_no_other_image(own_coco: Path, drawn_shards: Path, tmp_path: Path) -> None:
    _spoil_image(own_coco, "missing")
    shard(own_coco, tmp_path / "shards")
    before, after = files(drawn_shards / "train2017"), files(tmp_path / "shards" / "train2017")
    assert sum(before[name] != after[name] for name in before if name.endswith(".tar")) == 1


def test_an_image_of_two_splits_is_left_out_of_the_later_one(own_coco: Path, tmp_path: Path) -> None:
    path = own_coco / "annotations" / "person_keypoints_val2017.json"
    tree = json.loads(path.read_text())
    moved, taken = tree["images"][0], sorted((own_coco / "train2017").iterdir())[0]
    tree["annotations"] = [a for a in tree["annotations"] if a["image_id"] != moved["id"]]
    moved.update(id=int(taken.stem), file_name=taken.name)
    shutil.copy(taken, own_coco / "val2017")
    path.write_text(json.dumps(tree))
    for target, calls in (("one", [("train2017", "val2017")]), ("two", [("train2017",), ("val2017",)])):
        for splits in calls:
            reports = shard(own_coco, tmp_path / target, *splits)
        assert [left.reason for left in reports[-1].problems] == ["it is also in train2017"]


def test_a_split_without_one_good_image_is_an_error_without_an_index(own_coco: Path, tmp_path: Path) -> None:
    for path in (own_coco / "train2017").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ValueError, match="none of 45 images is good"):
        shard(own_coco, tmp_path / "shards")
    assert files(tmp_path / "shards") == {}


def test_a_run_that_ends_early_leaves_no_index(own_coco: Path, tmp_path: Path) -> None:
    def broken(tasks: Any) -> Any:
        for number, result in serial(tasks):
            if number == 3:
                raise ConnectionError("the store is gone")
            yield number, result

    with pytest.raises(ConnectionError):
        shard(own_coco, tmp_path / "shards", runner=broken)
    with pytest.raises(FileNotFoundError, match="no finished shards"):
        read_index(str(tmp_path / "shards" / "train2017"))
    (report,) = shard(own_coco, tmp_path / "shards")
    assert report.written == 11, "the first four were there already"


def test_truth_is_the_sources_annotations(drawn_coco: Path, drawn_shards: Path) -> None:
    tree = json.loads((drawn_coco / "annotations" / "person_keypoints_val2017.json").read_text())
    told = truth(str(drawn_shards / "val2017"))
    assert [image["id"] for image in told["images"]] == [image["id"] for image in tree["images"]]
    kept = [{k: v for k, v in a.items() if k != "segmentation"} for a in tree["annotations"]]
    assert sorted(told["annotations"], key=lambda a: int(a["id"])) == kept
    assert told["categories"] == tree["categories"]


@pytest.mark.parametrize("per_shard", [0, -1])
def test_an_impossible_shard_size_is_refused(drawn_coco: Path, tmp_path: Path, per_shard: int) -> None:
    with pytest.raises(ValueError, match=f"per_shard is {per_shard}"):
        shard(drawn_coco, tmp_path, per_shard=per_shard)
