from dataclasses import replace

import pytest

from lhrnet.skeleton import COCO, SKELETONS, check_same_keypoints


def test_other_keypoints_are_refused_and_both_are_named() -> None:
    with pytest.raises(ValueError, match="s3://a has the 17 keypoints of 'coco' and the network the 14 of 'lsp'"):
        check_same_keypoints(COCO, "s3://a", SKELETONS["lsp"], "the network")


def test_the_first_keypoint_that_differs_is_named() -> None:
    with pytest.raises(ValueError, match="keypoint 0 is 'nose' there and 'left_eye' here"):
        check_same_keypoints(COCO, "the shards", SKELETONS["ap10k"], "the network")


def test_another_mirror_is_refused() -> None:
    with pytest.raises(ValueError, match="in other pairs"):
        check_same_keypoints(COCO, "the shards", replace(COCO, flip=tuple(range(17))), "the network")


def test_tolerances_and_colours_may_differ() -> None:
    check_same_keypoints(COCO, "a", replace(COCO, sigmas=(0.1,) * 17, colours=("own",) * 19), "b")
