"""What is read of an annotation in a shard is what training can compute with."""

import pytest

from pipeline.data.reader import _annotation


@pytest.mark.parametrize("far", [1e308, -1e308, 1e7, float("inf"), float("nan"), "5", None])
def test_a_keypoint_that_is_nowhere_is_refused(far: object) -> None:
    good = {"keypoints": [5.0, 6.0, 2] * 17, "num_keypoints": 17, "iscrowd": 0}
    assert _annotation(good, 17) == good
    with pytest.raises((ValueError, TypeError)):
        _annotation({**good, "keypoints": [far, *good["keypoints"][1:]]}, 17)  # type: ignore[index]
