"""Pictures: people where they are, left and right told apart, inputs untouched."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lhrnet.coco import K
from lhrnet.draw import LEFT, PEOPLE, RIGHT, contact_sheet, draw_heatmaps, draw_people, draw_tags, side_colour
from lhrnet.person import Person
from lhrnet.skeleton import COCO, SKELETONS, Skeleton


def grey(h: int = 60, w: int = 80) -> NDArray[np.uint8]:
    return np.full((h, w, 3), 90, np.uint8)


def person(points: dict[int, tuple[float, float]], score: float = 0.9) -> Person:
    keypoints = np.zeros((K, 3), np.float32)
    for k, (x, y) in points.items():
        keypoints[k] = x, y, 0.8
    return Person(keypoints=keypoints, score=score)


def changed(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    ys, xs = np.nonzero((a != b).any(-1))
    return xs, ys


def test_limbs_are_drawn_between_their_keypoints_in_their_sides_colour() -> None:
    image = grey()
    people = [person({7: (20, 10), 9: (20, 50), 8: (60, 10), 10: (60, 50)})]
    picture = draw_people(image, people, scale=4, scores=False)
    assert picture.shape == (240, 320, 3)
    assert tuple(picture[120, 80]) == LEFT
    assert tuple(picture[120, 240]) == RIGHT
    assert (image == 90).all()


def test_keypoints_are_drawn_in_corner_coordinates() -> None:
    picture = draw_people(grey(), [person({0: (40.5, 30.5)})], scale=1, scores=False)
    xs, ys = changed(picture, grey())
    assert xs.mean() + 0.5 == pytest.approx(40.5, abs=0.05)
    assert ys.mean() + 0.5 == pytest.approx(30.5, abs=0.05)


def test_small_images_are_enlarged_and_large_ones_are_not() -> None:
    assert min(draw_people(grey(), []).shape[:2]) >= 384
    assert draw_people(grey(500, 600), []).shape == (500, 600, 3)


def test_unsure_people_and_keypoints_are_left_out() -> None:
    both = [person({5: (10, 10), 6: (30, 10)}), person({5: (50, 40), 6: (70, 40)}, score=0.1)]
    picture = draw_people(grey(), both, scale=1, scores=False, min_score=0.2)
    xs, _ = changed(picture, grey())
    assert xs.max() < 40
    assert not len(changed(draw_people(grey(), both, scale=1, scores=False, min_keypoint=0.8), grey())[0])


def test_lines_do_not_cross_the_face() -> None:
    picture = draw_people(grey(), [person({3: (40, 10), 5: (40, 50)})], scale=1, scores=False)
    assert (picture[20:40] == 90).all(), "no line from ear to shoulder"


def test_scores_are_written_inside_the_picture() -> None:
    one = [person({0: (0.5, 0.5), 1: (2, 1)})]
    plain, scored = (draw_people(grey(), one, scale=2, scores=on) for on in (False, True))
    assert len(changed(plain, scored)[0]) > 20


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_mirrored_limbs_have_mirrored_colours(skeleton: Skeleton) -> None:
    own = PEOPLE[0]
    swap = {LEFT: RIGHT, RIGHT: LEFT, own: own}
    colours = {
        frozenset(limb): side_colour(side, own) for limb, side in zip(skeleton.limbs, skeleton.colours, strict=True)
    }
    for a, b in skeleton.limbs:
        assert colours[frozenset((skeleton.flip[a], skeleton.flip[b]))] == swap[colours[frozenset((a, b))]]


def test_arms_and_legs_have_the_colour_of_their_side() -> None:
    colours = dict(zip(COCO.limbs, COCO.colours, strict=True))
    assert (colours[5, 7], colours[16, 14], colours[11, 12]) == ("left", "right", "own")


def test_people_of_another_skeleton_are_refused() -> None:
    with pytest.raises(ValueError, match="people of 17 keypoints do not fit lsp's 14"):
        draw_people(grey(), [person({0: (0.5, 0.5)})], SKELETONS["lsp"])


def test_heatmaps_glow_where_they_are_high_and_in_their_sides_colour() -> None:
    heat = np.zeros((K, 15, 20), np.float32)
    heat[5, 3, 5] = heat[6, 10, 15] = 1.0
    picture = draw_heatmaps(grey(), heat).astype(int)
    left, right = picture[14, 22], picture[42, 62]
    assert left[0] > left[2] + 50
    assert right[2] > right[0] + 50
    assert (picture[0, -1] == 36).all()


def test_tags_give_each_person_a_colour() -> None:
    heat, tags = np.zeros((K, 15, 20), np.float32), np.zeros((K, 15, 20), np.float32)
    for x, tag in ((4, -1.0), (12, 1.0)):
        heat[5, 3, x] = heat[11, 9, x] = 1.0
        tags[:, :, x - 2 : x + 3] = tag
    picture = draw_tags(grey(), heat, tags).astype(int)
    first, first_hip, second = picture[14, 18], picture[38, 18], picture[14, 50]
    assert np.abs(first - first_hip).max() <= 2
    assert np.abs(first - second).max() > 100
    assert draw_tags(grey(), heat * 0, tags).shape == (60, 80, 3)


def test_a_sheet_holds_every_picture_whole() -> None:
    images = [np.full((10 + i, 20 - i, 3), 40 + i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, columns=2)
    for i, image in enumerate(images):
        assert (sheet == 40 + i).all(-1).sum() == image.shape[0] * image.shape[1]
    assert sheet.shape == (6 + 3 * 20, 6 + 2 * 26, 3)
    rows, columns = np.nonzero((sheet == 40).all(-1))
    assert (rows[0], columns[0]) == (6 + 2, 6 + 0)
    captioned = contact_sheet(images, columns=2, captions=[f"{i}" for i in range(5)])
    assert captioned.shape[0] == sheet.shape[0] + 3 * 20


def test_bad_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        draw_people(np.zeros((4, 4), np.uint8), [])
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        contact_sheet([grey(), grey()], captions=["a"])
