"""A submission scored from its zip alone."""

from pathlib import Path

import pytest

from pipeline.data.index import read_index, truth
from pipeline.evaluation.rehearsal import check_split, score_zip
from pipeline.evaluation.submission import pack
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.write import make_plans, write_split


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rehearsal")
    write_coco(root / "coco", train=2, val=5, test=2, seed=3, config=SceneConfig(size=96), workers=1)
    for plan in make_plans(str(root / "coco"), str(root / "shards"), ["val2017", "test-dev2017"]):
        write_split(plan)
    return root / "shards"


def test_the_truth_sent_in_scores_one_and_nothing_scores_zero(shards: Path) -> None:
    url = str(shards / "val2017")
    ids = frozenset(read_index(url).image_ids)
    people = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.5}
        for a in truth(url)["annotations"]
        if a["num_keypoints"]
    ]
    zipped = pack(people, split="val2017", name="truth", image_ids=ids)
    assert score_zip(zipped, url, "truth.zip").ap == pytest.approx(1.0)
    nothing = pack([], split="val2017", name="nothing", image_ids=ids)
    assert score_zip(nothing, url, "nothing.zip").ap == 0.0


def test_images_without_public_annotations_are_left_to_cocos_server(shards: Path) -> None:
    url = str(shards / "test-dev2017")
    zipped = pack([], split="test-dev2017", name="a", image_ids=frozenset(read_index(url).image_ids))
    with pytest.raises(ValueError, match="only COCO's server can score it"):
        score_zip(zipped, url, "a.zip")


def test_a_zip_of_another_split_than_the_shards_is_refused(shards: Path) -> None:
    zipped = pack([], split="test-dev2017", name="a", image_ids=frozenset())
    with pytest.raises(ValueError, match="holds val2017, and test-dev2017 is to be submitted"):
        score_zip(zipped, str(shards / "val2017"), "a.zip")
    check_split(read_index(str(shards / "val2017")), "val2017", "x")
