import json
from pathlib import Path

import numpy as np
import pytest

from lhrnet.draw import LEFT, RIGHT
from lhrnet.skeleton import COCO, SKELETONS
from pipeline.sharding.formats.recognise import recognise
from pipeline.sharding.imported import write
from pipeline.sharding.portrait import SIDE, graph_pose, portrait, poses_of, typical_pose
from pipeline.sharding.samples_sheet import samples_sheet
from pipeline.sharding.skeleton_at import skeleton_at
from tests.pipeline.sharding import exports
from tests.pipeline.sharding.exports import HORSE, shots


def test_every_place_that_holds_a_skeleton_gives_the_same_one_and_the_pose_of_an_annotation(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg", "c.jpg"])
    root = exports.cvat(tmp_path / "export", taken)
    write(recognise(str(root), val=0), str(tmp_path / "taken"))
    of_import = skeleton_at(str(tmp_path / "taken"))
    of_file = skeleton_at(str(root / "annotations" / "person_keypoints_default.json"))
    of_source = skeleton_at(str(root))
    assert of_import.skeleton == of_file.skeleton == of_source.skeleton
    assert of_import.skeleton.keypoints == HORSE
    for seen in (of_import, of_file, of_source):
        assert any("sigmas are estimated" in note for note in seen.notes)
        assert any(np.array_equal(seen.pose, shot.points) for shot in taken)


def test_shards_and_built_in_names_give_theirs(drawn_shards: Path) -> None:
    assert skeleton_at(str(drawn_shards)).skeleton == COCO
    assert skeleton_at(str(drawn_shards / "val2017")).skeleton == COCO
    seen = skeleton_at("hand")
    assert seen.skeleton == SKELETONS["hand"]
    assert any("nobody is annotated" in note for note in seen.notes)


def test_a_file_with_two_kinds_of_things_is_chosen_from_by_name(tmp_path: Path) -> None:
    tree = exports.tree(shots(["a.jpg"]), [exports.horse(), exports.person(id=5)])
    exports.put(tmp_path / "both.json", tree)
    with pytest.raises(ValueError, match="are 'horse', 'person'; choose one"):
        skeleton_at(str(tmp_path / "both.json"))
    assert skeleton_at(str(tmp_path / "both.json"), category="person").skeleton == COCO


@pytest.mark.parametrize("content", ["[]", "{", '{"images": [3], "annotations": [], "categories": []}'])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json is no"):
        skeleton_at(str(tmp_path / "bad.json"))


def test_the_typical_pose_is_one_of_those_with_most_labels_and_not_their_mean(tmp_path: Path) -> None:
    left = np.array([[0, 0, 2], [10, 0, 2], [20, 5, 2]], float)
    right = np.array([[40, 0, 2], [30, 0, 2], [20, 5, 2]], float)
    bare = np.array([[1, 1, 2], [0, 0, 0], [0, 0, 0]], float)
    moved = np.add(left, (100, 3, 0))
    pose = typical_pose(np.stack([bare, left, right, moved]))
    assert any(np.array_equal(pose, one) for one in (left, moved))


@pytest.mark.parametrize("name", SKELETONS)
def test_a_skeleton_without_people_is_drawn_by_its_limbs_inside_the_picture(name: str) -> None:
    skeleton = SKELETONS[name]
    pose = graph_pose(skeleton)
    lengths = [np.linalg.norm(pose[a, :2] - pose[b, :2]) for a, b in skeleton.limbs]
    assert max(lengths) < 6
    picture = portrait(skeleton, pose)
    assert picture.shape == (SIDE, SIDE, 3)
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 40).all()
    assert (picture != 40).any(-1).sum() > 1000


def test_samples_show_limbs_on_their_images_and_say_what_cannot_be_shown(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg"])
    root = exports.cvat(tmp_path / "export", taken)
    whole = samples_sheet(recognise(str(root), val=0))
    assert all((whole == colour).all(-1).any() for colour in (LEFT, RIGHT))
    path = root / "annotations" / "person_keypoints_default.json"
    tree = json.loads(path.read_text())
    for annotation in tree["annotations"][:1]:
        annotation["keypoints"] = [0] * 15
    exports.put(path, tree)
    fewer = samples_sheet(recognise(str(root), val=0))
    assert fewer.shape[1] < whole.shape[1]
    (root / "images" / "default" / "b.jpg").write_bytes(b"cut")
    assert samples_sheet(recognise(str(root), val=0)).shape != fewer.shape
    tree["annotations"] = []
    exports.put(path, tree)
    with pytest.raises(ValueError, match="no image has a labelled keypoint of 'horse'"):
        samples_sheet(recognise(str(root), val=0))


def test_poses_of_crowds_and_of_nobody_are_none(tmp_path: Path) -> None:
    tree = exports.tree(shots(["a.jpg", "b.jpg", "c.jpg"]), [exports.horse()])
    skeleton = recognise(str(exports.cvat(tmp_path / "export", shots(["a.jpg"]))), val=0).skeleton
    tree["annotations"][0]["iscrowd"] = 1
    tree["annotations"][1]["num_keypoints"] = 0
    assert poses_of(tree, skeleton).shape == (1, 5, 3)
