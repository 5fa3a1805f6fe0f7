"""What keypoint similarity and the word "labelled" promise."""

from typing import Any

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from lhrnet.coco import FLIP_INDEX, OKS_SIGMAS, K, labelled, labelled_keypoints
from lhrnet.metrics.oks import keypoint_oks, oks_matrix

TRUE = np.column_stack([np.arange(K) * 3.0, np.arange(K) * 5.0, np.arange(K) % 3])


def test_tolerances_are_pycocotools_s_to_the_last_bit_and_the_same_left_and_right() -> None:
    assert Params("keypoints").kpt_oks_sigmas.tolist() == list(OKS_SIGMAS)
    assert [OKS_SIGMAS[k] for k in FLIP_INDEX] == list(OKS_SIGMAS)


def test_a_keypoint_s_similarity_falls_with_its_own_distance_and_is_nan_without_a_label() -> None:
    found = TRUE + np.array([3, 4, 0])
    wanted = np.exp(-25 / (2 * 900 * (2 * np.array(OKS_SIGMAS)) ** 2))
    oks = keypoint_oks(found, TRUE, 900)
    np.testing.assert_allclose(oks, np.where(TRUE[:, 2] > 0, wanted, np.nan), rtol=1e-12)
    np.testing.assert_array_equal(keypoint_oks(found.ravel().tolist(), TRUE.ravel().tolist(), 900), oks)
    several = keypoint_oks(np.stack([TRUE, found])[..., :2], TRUE, 900)
    np.testing.assert_array_equal(several[1], oks)
    assert np.nanmin(several[0]) == 1


def test_a_person_s_oks_is_the_mean_over_labelled_keypoints() -> None:
    annotation = {"keypoints": TRUE.ravel().tolist(), "area": 900, "bbox": [0, 0, 50, 80]}
    found = TRUE + np.array([3, 4, 0])
    (oks,) = oks_matrix(found[None], [annotation])[0]
    assert oks == pytest.approx(np.nanmean(keypoint_oks(found, TRUE, 900)), rel=1e-12)


@pytest.mark.parametrize(
    ("annotation", "count", "person"),
    [
        ({"keypoints": [1, 1, 2] * 3 + [0, 0, 0] * 14}, 3, True),
        ({"keypoints": [1, 1, 1] + [0, 0, 0] * 16, "iscrowd": 0}, 1, True),
        ({"keypoints": [0] * 51}, 0, False),
        ({}, 0, False),
        ({"num_keypoints": 5, "iscrowd": 1}, 5, False),
        ({"num_keypoints": 0, "keypoints": [1, 1, 2] * 17}, 0, False),
    ],
)
def test_labelled_are_people_with_a_labelled_keypoint_and_no_crowds(
    annotation: dict[str, Any], count: int, person: bool
) -> None:
    assert (labelled_keypoints(annotation), labelled(annotation)) == (count, person)
