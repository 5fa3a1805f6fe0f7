"""The submission zip: what it looks like, and what is refused before it is written."""

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.index import read_index, truth
from pipeline.evaluation.submission import check_results, check_split, file_name, pack, read_zip, score_zip

IDS = frozenset({1, 2})


def _result(image_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "keypoints": [1.5, 2.25, 1.0] * 17, "score": 0.5} | changes


def _zip(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_the_zip_is_flat_and_its_file_has_cocos_name() -> None:
    blob = pack([_result()], split="test-dev2017", name="lightweight-hrnet", image_ids=IDS)
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        assert archive.namelist() == ["person_keypoints_test-dev2017_lightweight-hrnet_results.json"]
        assert b" " not in archive.read(archive.namelist()[0])


def test_what_was_packed_is_read_back_and_the_same_bytes_come_of_it_again() -> None:
    detections = [_result(), _result(2, score=0.25)]
    blob = pack(detections, split="val2017", name="a", image_ids=IDS)
    assert read_zip(blob, "a.zip") == ("val2017", "a", detections)
    assert pack(detections, split="val2017", name="a", image_ids=IDS) == blob


def test_numbers_of_any_kind_are_packed_as_jsons_own() -> None:
    person = _result() | {"image_id": np.int64(1), "category_id": True, "keypoints": np.ones(51, np.float32)}
    person |= {"score": np.float32(0.5), "tag": [1j]}
    plain = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}
    assert pack([person], split="val2017", name="a", image_ids=IDS) == pack(
        [plain], split="val2017", name="a", image_ids=IDS
    )


def test_a_zip_with_any_one_byte_damaged_is_read_the_same_or_refused_by_name() -> None:
    detections = [_result(score=0.1 * n, keypoints=[1.5 * n, 2.25, 1.0] * 17) for n in range(3)]
    blob = pack(detections, split="val2017", name="a", image_ids=IDS)
    errors = []
    for place in range(len(blob)):
        damaged = blob[:place] + bytes([blob[place] ^ 0xFF]) + blob[place + 1 :]
        try:
            assert read_zip(damaged, "a.zip")[2] == detections
        except ValueError as error:
            errors.append(str(error))
    assert len(errors) > len(blob) / 2
    assert all(error.startswith("a.zip ") for error in errors)


def test_no_people_at_all_is_a_valid_submission() -> None:
    assert read_zip(pack([], split="val2017", name="a", image_ids=IDS), "a.zip")[2] == []


def test_twenty_people_an_image_pass_and_twenty_one_are_refused() -> None:
    check_results([_result()] * 20, IDS)
    with pytest.raises(ValueError, match=r"image 1 has 21 people"):
        check_results([_result()] * 21, IDS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_id": 3}, "image 3"),
        ({"score": math.nan}, "finite number"),
        ({"keypoints": [math.inf, *[1.0] * 50]}, "finite number"),
        ({"keypoints": [1.0] * 50}, "50 keypoint numbers"),
        ({"category_id": 2}, "category 2"),
    ],
)
def test_a_detection_the_server_would_refuse_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"detection 1 .*{says}"):
        pack([_result(), _result() | changes], split="test-dev2017", name="a", image_ids=IDS)


def test_a_detection_without_a_score_is_refused() -> None:
    broken = _result()
    del broken["score"]
    with pytest.raises(ValueError, match="no score"):
        check_results([broken], IDS)


@pytest.mark.parametrize("name", ["", "a_b", "a b", "../a", "-a", "a.", "a" * 65, "ä"])
def test_a_name_the_server_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="refuse the name"):
        file_name("test-dev2017", name)


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"not a zip", "not a zip"),
        (_zip({"folder/person_keypoints_val2017_a_results.json": "[]"}), "in no folder"),
        (_zip({"person_keypoints_val2017_a_results.json": "[]", "notes.txt": ""}), "one file"),
        (_zip({"results.json": "[]"}), "results.json"),
        (_zip({"person_keypoints_val2017_a_results.json": json.dumps({})}), "not a list"),
        (_zip({"person_keypoints_val2017_a_results.json": "["}), "not a zip of JSON"),
        (_zip({"person_keypoints_val2017_a_results.json": b"\xff\xfe["}), "a.zip is not a zip of JSON"),
        (_zip({"person_keypoints_val2017_a_results.json": "[" * 100_000}), "a.zip is not a zip of JSON"),
    ],
)
def test_a_zip_the_server_would_not_take_is_refused(blob: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_zip(blob, "a.zip")


@pytest.fixture(scope="module")
def shards(make_shards: Callable[..., Path]) -> Path:
    return make_shards(val=5, test=2)


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


def test_a_zip_that_would_unpack_to_more_than_results_do_is_refused_unread() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("person_keypoints_val2017_a_results.json", " " * 20_000_000)
    with pytest.raises(ValueError, match=r"a\.zip .*bytes would unpack to 20,000,000, which no results do"):
        read_zip(buffer.getvalue(), "a.zip")
