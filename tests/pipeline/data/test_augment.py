import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lhrnet import geometry
from lhrnet.coco import FLIP_INDEX
from lhrnet.image_file import decode
from lhrnet.skeleton import COCO
from pipeline.data.augment import NONE, AugmentConfig, TrainingSample, draw_matrix, joints_of, prepare
from pipeline.data.decode import check_whole


def jpeg_of(image: Any, quality: int = 100) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return bytes(cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes())


def png_of(mask: Any) -> bytes:
    return bytes(cv2.imencode(".png", mask)[1].tobytes())


def smooth(height: int, width: int, seed: int = 0) -> Any:
    """A picture without fine detail, so that resampling hardly changes it."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def person(points: Any, **more: Any) -> dict[str, Any]:
    keypoints = [*map(float, np.ravel(points)), *[0.0] * (51 - np.size(points))]
    return {"keypoints": keypoints, "num_keypoints": sum(v > 0 for v in keypoints[2::3]), "iscrowd": 0} | more


def run(
    image: Any, annotations: Any = (), ignore: Any = None, *, size: int = 64, key: Any = (0, 0, 1), **config: Any
) -> TrainingSample:
    height, width = image.shape[:2]
    return prepare(
        jpeg_of(image),
        None if ignore is None else png_of(ignore),
        annotations,
        width=width,
        height=height,
        size=size,
        config=AugmentConfig(**config),
        key=key,
    )


STILL: dict[str, Any] = {"min_scale": 1, "max_scale": 1, "rotation": 0, "translation": 0, "flip": 0}


def test_the_affine_is_the_reference_codes(golden: Path) -> None:
    """With the numbers that the reference drew, the map is its matrix (scale in units of 200 pixels)."""
    for case in json.loads((golden / "targets.json").read_text())["affine"]:
        (x, y), side = case["center"], 200 * case["scale"]
        ours = geometry.affine((x, y), case["res"] / side, (case["res"],) * 2, case["rot"])
        assert np.allclose(ours, np.array(case["matrix"])[:2], atol=1e-9)


def test_the_maps_drawn_lie_in_the_recipes_ranges_and_fill_them() -> None:
    seen = []
    width, height, size = 640, 400, 448
    for image in range(2000):
        matrix, mirrored = draw_matrix(np.random.default_rng([1, 0, image]), width, height, size, AugmentConfig())
        own = geometry.compose(matrix, geometry.mirror(width)) if mirrored else matrix
        scale = np.sqrt(np.linalg.det(own[:, :2]))
        centre = geometry.apply(geometry.inverse(own), (size / 2, size / 2)) - (width / 2, height / 2)
        part = size / (height * scale)
        angle = np.degrees(np.arctan2(own[0, 1], own[0, 0]))
        seen.append((part, angle, *(centre / (part * height / 5)), mirrored))
    part, angle, dx, dy, mirrored = np.array(seen).T
    for values, low, high in [(part, 0.75, 1.5), (angle, -30, 30), (dx, -1, 1), (dy, -1, 1)]:
        margin = 0.02 * (high - low)
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 2 * margin
    assert 0.45 < mirrored.mean() < 0.55


def test_nothing_at_random_leaves_the_image_as_it_is() -> None:
    image = smooth(64, 64)
    points = [(10.25, 20.5, 2), (0, 63, 1)]
    ready = run(image, [person(points)], **STILL)
    assert np.array_equal(ready.image, decode(jpeg_of(image)))
    assert ready.joints[0, :2].tolist() == [[10.25, 20.5, 2], [0, 63, 1]]
    assert not ready.joints[0, 2:].any()
    assert not ready.joints[1:].any()
    assert ready.mask.shape == (32, 32)
    assert ready.mask.all()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 97), (81, 64)])
def test_a_mirrored_sample_is_the_mirror_of_the_sample_to_the_pixel(height: int, width: int) -> None:
    image = smooth(height, width)
    ignore = np.zeros((height, width), np.uint8)
    ignore[5:30, 7:20] = 255
    annotations = [person(np.random.default_rng(0).uniform(1, 60, (17, 3)).round(1) * (1, 1, 0) + (0, 0, 2))]
    plain = run(image, annotations, ignore, **STILL)
    mirrored = run(image, annotations, ignore, **{**STILL, "flip": 1})
    assert np.abs(mirrored.image[:, ::-1].astype(int) - plain.image).max() <= 1
    assert np.array_equal(mirrored.mask[:, ::-1], plain.mask)
    back = mirrored.joints[0, list(FLIP_INDEX)] * (-1, 1, 1) + (64, 0, 0)
    assert np.allclose(back, plain.joints[0], atol=1e-4)


@pytest.mark.parametrize("size", [64, 128, 448])
@pytest.mark.parametrize("reduced", [False, True])
def test_joints_and_mask_stay_on_what_they_mark(size: int, reduced: bool) -> None:
    """Disks are painted at the joints; after any warp their centres of mass lie on the joints, to a small fraction."""
    height, width, radius = 600, 760, 26
    points = [(200.5, 180.0), (500.0, 430.25), (380.0, 300.0)]
    rows, columns = np.mgrid[:height, :width] + 0.5
    discs = [(columns - x) ** 2 + (rows - y) ** 2 < radius**2 for x, y in points]
    image = np.zeros((height, width, 3), np.uint8)
    for channel, disc in enumerate(discs):
        image[disc, channel] = 255
    ignore = (discs[0] * 255).astype(np.uint8)
    found = 0
    for number in range(12):
        ready = run(
            image, [person([(*p, 2) for p in points])], ignore, size=size, key=(3, 1, number), reduced_decode=reduced
        )
        joints = np.array(sorted((x, y) for x, y, v in ready.joints[0] if v))
        centres = []
        for channel in range(3):
            weight = ready.image[..., channel].astype(float) * (ready.image[..., channel] > 60)
            y, x = np.mgrid[:size, :size] + 0.5
            centres.append(((weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()))
        margin = 2 * radius * size / 400
        if ((joints < margin) | (joints > size - margin)).any():
            continue
        found += 1
        assert np.abs(joints - np.array(sorted(centres))).max() < 0.2
        rows_out, columns_out = np.nonzero(ready.mask == 0)
        inside = ready.image[::2, ::2, 0] > 60
        y, x = np.nonzero((ready.mask == 0) & inside)
        assert len(x)
        assert abs(2 * (x.mean() + 0.5) - centres[0][0]) < 1.0
        assert abs(2 * (y.mean() + 0.5) - centres[0][1]) < 1.0
        assert len(rows_out) == len(columns_out)
    assert found > 3


SHIFTS = [(0, 0), (0.15, 0), (-0.15, 0), (0, 0.15), (0, -0.15)]


def difference(one: Any, other: Any, shift: tuple[float, float]) -> float:
    """Mean difference of the blurred pictures, borders aside, after moving one by a part of a pixel."""
    blurred = [cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1) for picture in (one, other)]
    moved = cv2.warpAffine(blurred[1], np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64), one.shape[:2])
    return float(np.abs(blurred[0] - moved)[8:-8, 8:-8].mean())


def test_decoding_at_reduced_size_shows_the_same_picture(coco_mini: Path) -> None:
    used = 0
    for path in sorted((coco_mini / "val2017").iterdir())[:12]:
        jpeg = path.read_bytes()
        height, width = decode(jpeg).shape[:2]
        size = 2 * (min(height, width) // 5)
        for number in range(2):
            options: Any = {"width": width, "height": height, "size": size, "key": (0, 0, number)}
            config = AugmentConfig(min_scale=1.0, max_scale=2.6)
            full = prepare(
                jpeg, None, [], config=AugmentConfig(min_scale=1.0, max_scale=2.6, reduced_decode=False), **options
            )
            fast = prepare(jpeg, None, [], config=config, **options)
            used += not np.array_equal(full.image, fast.image)
            assert np.abs(full.image.astype(int) - fast.image).mean() < 10
            still, *moved = [difference(full.image, fast.image, shift) for shift in SHIFTS]
            assert still < min(moved)
            assert np.array_equal(full.mask, fast.mask)
    assert used > 15


@pytest.mark.parametrize("kind", [".png", ".webp"])
def test_an_image_of_another_format_is_decoded_whole(kind: str) -> None:
    """OpenCV rounds the reduced size of a JPEG up and that of others down."""
    image = np.full((201, 301, 3), 200, np.uint8)
    ready = prepare(
        cv2.imencode(kind, image)[1].tobytes(), None, [], width=301, height=201, size=32, config=NONE, key=(0, 0, 1)
    )
    assert ready.image.mean() > 190


def test_bytes_too_many_before_a_marker_are_let_pass_and_too_few_are_not() -> None:
    jpeg = jpeg_of(smooth(90, 120))
    check_whole(jpeg[:-2] + bytes(5) + jpeg[-2:])
    with pytest.raises(ValueError, match="damaged within"):
        check_whole(jpeg[: len(jpeg) // 2] + jpeg[-2:])


@pytest.mark.parametrize("film", [bytes(5000), b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40], ids=["zeros", "mp4"])
def test_what_follows_an_image_does_not_make_it_cut(film: bytes) -> None:
    jpeg = jpeg_of(smooth(90, 120))
    check_whole(jpeg + film)
    for left in (len(jpeg) - 1, len(jpeg) - 2, len(jpeg) // 2):
        with pytest.raises(ValueError, match=f"is cut after {left} bytes: it has no end marker"):
            check_whole(jpeg[:left])
    with pytest.raises(ValueError, match="damaged within"):
        check_whole(jpeg[: len(jpeg) // 2] + jpeg[-2:] + film)


def test_drawn_into_given_room_it_is_the_same_image() -> None:
    jpeg = cv2.imencode(".jpg", smooth(90, 120))[1].tobytes()
    config = AugmentConfig(brightness=0.2, contrast=0.2, saturation=0.5)
    options: Any = {"width": 120, "height": 90, "size": 64, "config": config, "key": (1, 2, 3)}
    room = np.zeros((2, 64, 64, 3), np.uint8)
    ready = prepare(jpeg, None, [], out=room[1], **options)
    assert np.shares_memory(ready.image, room)
    assert np.array_equal(room[1], prepare(jpeg, None, [], **options).image)
    assert not room[0].any()


def test_outside_the_image_nothing_counts() -> None:
    ready = run(np.full((64, 64, 3), 200, np.uint8), **{**STILL, "min_scale": 2, "max_scale": 2})
    inside = np.zeros((32, 32), bool)
    inside[8:24, 8:24] = True
    assert np.array_equal(ready.mask == 1, inside)
    assert ready.image[:14].max() == 0


def test_what_counts_is_what_warping_an_image_of_ones_gives() -> None:
    different = 0
    for number in range(40):
        width, height = 90 + 7 * number, 300 - 5 * number
        matrix, _ = draw_matrix(np.random.default_rng(number), width, height, 64, AugmentConfig(translation=120))
        nothing = np.zeros((height, width), np.uint8)
        ready = run(
            np.zeros((height, width, 3), np.uint8), key=(number,), size=64, translation=120, reduced_decode=False
        )
        ones = geometry.warp(255 - nothing, geometry.compose(np.diag([0.5, 0.5, 0])[:2], matrix), (32, 32),
                             interpolation=cv2.INTER_NEAREST)  # fmt: skip
        different += int(np.count_nonzero(ready.mask != (ones & 1)))
        assert 0 < ready.mask.mean() <= 1
    assert different <= 2  # OpenCV counts in parts of a pixel, and may round one on the border to the other side


def test_outside_the_image_counts_on_request_and_what_is_ignored_does_not() -> None:
    ignored = np.zeros((64, 64), np.uint8)
    ignored[:32] = 255
    wide = {**STILL, "min_scale": 2, "max_scale": 2, "count_outside": True}
    ready = run(np.full((64, 64, 3), 200, np.uint8), ignore=ignored, **wide)
    counts = np.ones((32, 32), bool)
    counts[8:16, 8:24] = False
    assert np.array_equal(ready.mask == 1, counts)


def test_a_sample_depends_on_seed_epoch_and_image_and_on_nothing_else() -> None:
    image = smooth(90, 120)
    options: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.5}
    first = run(image, key=(1, 2, 3), **options)
    np.random.default_rng().random(100)
    assert np.array_equal(first.image, run(image, key=(1, 2, 3), **options).image)
    for key in [(2, 2, 3), (1, 3, 3), (1, 2, 4)]:
        assert not np.array_equal(first.image, run(image, key=key, **options).image)


def test_crowds_and_unlabelled_people_have_no_joints() -> None:
    people = [person([(5, 5, 2)], iscrowd=1), person([]), person([(7, 8, 1)])]
    joints = joints_of(people, COCO, np.eye(3)[:2], False)
    assert joints[0, 0].tolist() == [7, 8, 1]
    assert not joints[1:].any()


def test_of_more_than_thirty_people_those_with_most_labels_stay() -> None:
    people = [person([(1 + i, 1, 2)] * (1 + i % 17)) for i in range(40)]
    joints = joints_of(people, COCO, np.eye(3)[:2], False)
    counts = (joints[..., 2] > 0).sum(1)
    assert sorted(counts) == sorted(sorted((1 + i % 17 for i in range(40)), reverse=True)[:30])


@pytest.mark.parametrize(
    "change",
    [{"brightness": 1.0}, {"contrast": 1.0}, {"saturation": 1.0}],
    ids=["brightness", "contrast", "saturation"],
)
def test_photometric_jitter_changes_colours_and_no_shapes(change: dict[str, Any]) -> None:
    image = smooth(64, 64)
    plain = run(image, [person([(3, 4, 2)])], **STILL)
    changed = [run(image, [person([(3, 4, 2)])], **STILL, **change, key=(0, 0, i)) for i in range(8)]
    assert all(not np.array_equal(c.image, plain.image) for c in changed)
    assert all(np.array_equal(c.joints, plain.joints) and np.array_equal(c.mask, plain.mask) for c in changed)
    if "saturation" in change:
        grey = cv2.cvtColor(plain.image, cv2.COLOR_RGB2GRAY).astype(int)
        middle = [np.abs(cv2.cvtColor(c.image, cv2.COLOR_RGB2GRAY).astype(int) - grey).mean() for c in changed]
        assert max(middle) < 12


def test_colours_are_rgb_at_every_reduction() -> None:
    jpeg = jpeg_of(np.full((40, 40, 3), (250, 128, 10), np.uint8))
    for reduce in (1, 2, 4):
        assert np.abs(decode(jpeg, reduce=reduce).reshape(-1, 3).mean(0) - (250, 128, 10)).max() < 3


def test_none_is_the_still_setting() -> None:
    assert AugmentConfig(**STILL) == NONE
