from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.augment import NONE, AugmentConfig, TrainingSample
from pipeline.data.index import read_index
from pipeline.data.show import draw_sample, draw_samples


def test_each_picture_shows_an_image_as_training_sees_it(drawn_shards: Path, tmp_path: Path) -> None:
    url = str(drawn_shards / "train2017")
    written = draw_samples(url, tmp_path / "a", count=4, size=64, augment=AugmentConfig())
    expected = [i for shard in read_index(url).shards for i in shard.chosen("labelled")][:4]
    assert [int(path.stem) for path in written] == expected
    again = draw_samples(url, tmp_path / "b", count=4, size=64, augment=AugmentConfig())
    other = draw_samples(url, tmp_path / "c", count=4, size=64, augment=AugmentConfig(), seed=1)
    for one, same, changed in zip(written, again, other, strict=True):
        assert cv2.imread(str(one)).shape == (64, 128, 3)  # type: ignore[union-attr]
        assert one.read_bytes() == same.read_bytes()
        assert one.read_bytes() != changed.read_bytes()


def test_skeleton_heatmap_and_what_is_ignored_lie_where_they_should() -> None:
    joints = np.zeros((30, 17, 3), np.float32)
    joints[0, 0] = 40, 20, 2
    mask = np.ones((32, 32), np.uint8)
    mask[20:, :] = 0
    seen = draw_sample(TrainingSample(np.full((64, 64, 3), 60, np.uint8), joints, mask)).astype(int)
    left, right = seen[:, :64], seen[:, 64:]
    assert np.ptp(left[18:22, 38:42].reshape(-1, 3), axis=0).max() > 60
    assert np.array_equal(left[50, 5], (60 // 2 + 110, 30, 30))
    assert np.array_equal(left[10, 5], (60, 60, 60))
    assert np.unravel_index(right.sum(-1).argmax(), (64, 64)) in [(y, x) for y in (19, 20) for x in (39, 40, 41)]


@pytest.mark.parametrize(("count", "size"), [(0, 64), (1, 30)])
def test_an_impossible_size_or_count_is_refused(drawn_shards: Path, tmp_path: Path, count: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"count is {count} and size {size}"):
        draw_samples(str(drawn_shards / "train2017"), tmp_path, count=count, size=size, augment=NONE)


def test_a_picture_that_cannot_be_written_is_an_error(drawn_shards: Path, tmp_path: Path) -> None:
    url = str(drawn_shards / "train2017")
    first = next(i for shard in read_index(url).shards for i in shard.chosen("labelled"))
    (tmp_path / f"{first:012d}.png").mkdir()
    with pytest.raises(OSError, match=rf"{first:012d}\.png"):
        draw_samples(url, tmp_path, count=1, size=64, augment=NONE)
