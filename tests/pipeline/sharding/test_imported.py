import json
from pathlib import Path

import pytest

from lhrnet.skeleton import SKELETONS
from pipeline.config.skeleton_file import skeleton_named, skeleton_yaml
from pipeline.data.index import read_index, truth
from pipeline.sharding.category import Choice
from pipeline.sharding.formats.recognise import recognise
from pipeline.sharding.imported import Manifest, read_manifest, write
from pipeline.sharding.plan import make_plans
from pipeline.sharding.source import present
from pipeline.sharding.write import write_split
from tests.pipeline.sharding import exports


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Roboflow's layout with COCO's 17 keypoints."""
    sets = {"train": exports.shots(["a.jpg", "b.jpg", "c.jpg"], 17), "valid": exports.shots(["d.jpg"], 17, seed=1)}
    root = exports.roboflow(tmp_path / "export", sets)
    for split in sets:
        path = root / split / "_annotations.coco.json"
        tree = json.loads(path.read_text())
        exports.put(path, {**tree, "categories": [tree["categories"][0], exports.person()]})
    return root


def test_shards_are_made_of_the_sources_own_bytes_under_its_own_split_names(people: Path, tmp_path: Path) -> None:
    folder, shards = str(tmp_path / "taken"), tmp_path / "shards"
    write(recognise(str(people)), folder)
    assert present(folder) == ("train", "valid")
    for plan in make_plans(folder, str(shards), present(folder)):
        report = write_split(plan, strict=True)
        assert report.index.left_out == ()
    assert {path.parent.name for path in shards.glob("*/index.json")} == {"train", "valid"}
    index = read_index(str(shards / "train"))
    tree = truth(str(shards / "train"), index)
    assert [image["file_name"] for image in tree["images"]] == ["train/a.jpg", "train/b.jpg", "train/c.jpg"]
    assert index.keypoints == 3 * 17
    tars = b"".join(path.read_bytes() for path in (shards / "train").glob("*.tar"))
    assert all((people / "train" / name).read_bytes() in tars for name in ("a.jpg", "b.jpg", "c.jpg"))


def test_nothing_but_annotations_is_written_and_another_import_takes_the_place_of_it(
    people: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "taken"
    write(recognise(str(people)), str(folder))
    assert {path.name for path in folder.iterdir()} == {"import.json", "train.json", "valid.json"}
    other = exports.cvat(tmp_path / "other", exports.shots(["a.jpg", "b.jpg"]))
    write(recognise(str(other), val=0), str(folder))
    assert {path.name for path in folder.iterdir()} == {"import.json", "all.json"}
    manifest = read_manifest(str(folder))
    assert manifest
    assert manifest.source == str(other)
    assert manifest.notes


def test_an_import_among_the_files_it_reads_is_refused(people: Path) -> None:
    with pytest.raises(ValueError, match=r"lies within .* name a folder beside it"):
        write(recognise(str(people)), str(people / "taken"))


def test_a_split_that_the_import_does_not_have_is_an_error_that_names_those_it_has(
    people: Path, tmp_path: Path
) -> None:
    write(recognise(str(people)), str(tmp_path / "taken"))
    with pytest.raises(ValueError, match="unknown split val2017; allowed: train, valid"):
        present(str(tmp_path / "taken"), ["val2017"])


@pytest.mark.parametrize("split", ["../train", "a/b", ""])
def test_a_manifest_whose_split_leads_elsewhere_is_refused(tmp_path: Path, split: str) -> None:
    manifest = Manifest(source="s", form="f", splits=("train",)).model_dump() | {"splits": [split]}
    exports.put(tmp_path / "import.json", manifest)
    with pytest.raises(ValueError, match=r"import\.json is damaged"):
        read_manifest(str(tmp_path))


def test_a_crowd_index_reaches_the_ground_truth(people: Path, tmp_path: Path) -> None:
    path = people / "train" / "_annotations.coco.json"
    tree = json.loads(path.read_text())
    for image, index in zip(tree["images"], (0.1, 0.8, "much"), strict=True):
        image["crowdIndex"] = index
    exports.put(path, tree)
    folder, shards = str(tmp_path / "taken"), tmp_path / "shards"
    write(recognise(str(people)), folder)
    for plan in make_plans(folder, str(shards), ["train", "valid"]):
        write_split(plan, strict=True)
    assert [image.get("crowdIndex") for image in truth(str(shards / "train"))["images"]] == [0.1, 0.8, None]
    assert ["crowdIndex" in image for image in truth(str(shards / "valid"))["images"]] == [False]


def test_keypoints_without_names_are_named_by_the_skeleton_that_is_given_back(tmp_path: Path) -> None:
    settings = "train: images\nkpt_shape: [5, 3]\nnames: [horse]\n"
    taken = exports.shots(["a.jpg", "b.jpg", "c.jpg"])
    root = exports.yolo(tmp_path / "set", {"": taken}, settings, pattern="{kind}")
    found = recognise(str(root), val=0.4)
    write(found, str(tmp_path / "taken"))
    text = skeleton_yaml(found.skeleton)
    for number, name in enumerate(exports.HORSE, 1):
        text = text.replace(f"point_{number}", name)
    (tmp_path / "horse.yaml").write_text(text.replace("flip: []", "flip: [[left_ear, right_ear]]"))
    choice = Choice(skeleton=skeleton_named(str(tmp_path / "horse.yaml")))
    for plan in make_plans(str(tmp_path / "taken"), str(tmp_path / "shards"), ["train", "val"], choice=choice):
        assert write_split(plan, strict=True).index.skeleton == choice.skeleton
    skeleton = read_index(str(tmp_path / "shards" / "val")).skeleton
    assert skeleton.keypoints == exports.HORSE
    assert skeleton.flip == (0, 2, 1, 3, 4)


def test_real_photos_with_fourteen_joints_are_taken_in_and_packed(lsp_mini: Path, tmp_path: Path) -> None:
    found = recognise(str(lsp_mini))
    assert found.skeleton == SKELETONS["lsp"]
    assert {split: len(tree["images"]) for split, tree in found.splits.items()} == {"train2017": 1200, "val2017": 200}
    write(found, str(tmp_path / "taken"))
    (plan,) = make_plans(str(tmp_path / "taken"), str(tmp_path / "shards"), ["val2017"])
    index = write_split(plan, strict=True).index
    assert (index.images, index.skeleton) == (200, SKELETONS["lsp"])
