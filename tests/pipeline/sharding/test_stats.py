import json
from pathlib import Path

import cv2

from pipeline.sharding.plan import make_plans
from pipeline.sharding.stats import plot, statistics
from pipeline.sharding.write import write_split


def test_the_counts_are_those_of_the_annotation_file(coco_mini: Path, tmp_path: Path) -> None:
    (plan,) = make_plans(str(coco_mini), str(tmp_path), ["train2017"])
    write_split(plan)
    counted = statistics(plan.url)
    tree = json.loads((coco_mini / "annotations" / "person_keypoints_train2017.json").read_text())
    people = [a for a in tree["annotations"] if not a["iscrowd"]]
    flags = [v for a in people for v in a["keypoints"][2::3]]
    assert (counted.images, counted.labelled_images) == (80, 28)
    assert (counted.people, counted.labelled_people, counted.crowds) == (len(people), 86, 5)
    assert (counted.keypoints, counted.visible) == (800, flags.count(2))
    assert counted.small + counted.medium + counted.large == 86
    assert counted.medium == sum(32**2 <= a["area"] < 96**2 for a in people if a["num_keypoints"])
    assert counted.by_keypoint.sum() == 800
    assert sum(number * images for number, images in counted.people_per_image.items()) == 86
    assert sum(counted.keypoints_per_person.values()) == 86
    assert ("images", "80 (28 with labelled people)") in counted.rows()


def test_a_split_without_people_is_counted_and_plotted(drawn_shards: Path, tmp_path: Path) -> None:
    counted = statistics(str(drawn_shards / "test-dev2017"))
    assert (counted.images, counted.people, counted.keypoints) == (10, 0, 0)
    assert dict(counted.rows())["keypoints"] == "0 (0 visible), 0.0 a person"
    plot(counted, tmp_path / "plots" / "x.png")
    picture = cv2.imread(str(tmp_path / "plots" / "x.png"))
    assert picture is not None
    assert picture.std() > 10
