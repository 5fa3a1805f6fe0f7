"""Heatmaps and tags to people: associative embedding (Newell et al. 2017), by the rules of HigherHRNet's parser."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import GROUPING_ORDER, MAX_PEOPLE
from lhrnet.decoder.assignment import assign
from lhrnet.decoder.enlarged import FACTORS, Enlarged, Floats, factor_of
from lhrnet.decoder.peaks import Peaks, find_peaks
from lhrnet.decoder.refinement import best_for_tags, between_pixels


@dataclass(frozen=True, kw_only=True)
class GroupingConfig:
    """How maps are grouped into people. The defaults are the recipe's."""

    max_people: int = MAX_PEOPLE
    """Maximum peaks per keypoint, and maximum people that peaks may join."""
    detection_threshold: float = 0.1
    """A peak must be higher than this."""
    tag_threshold: float = 1.0
    """A peak joins a person only when its tag is nearer than this to the person's mean tag."""
    nms_kernel: int = 5
    """Odd side, in pixels, of the window in which a peak must be the highest."""
    order: tuple[int, ...] = GROUPING_ORDER
    """The keypoints in the order in which they are visited: a skeleton's `order`; its length is K."""
    refine: bool = True
    """Fill in missing keypoints where heatmap minus rounded tag distance is highest."""

    def __post_init__(self) -> None:
        if self.max_people < 1:
            raise ValueError(f"max_people is {self.max_people}; it must be at least 1")
        if self.nms_kernel < 3 or self.nms_kernel % 2 == 0:
            raise ValueError(f"nms_kernel is {self.nms_kernel}; it must be odd and at least 3")
        if not 0 <= self.detection_threshold < 1:
            raise ValueError(f"detection_threshold is {self.detection_threshold}; it must be from 0 to below 1")
        if not self.tag_threshold > 0:
            raise ValueError(f"tag_threshold is {self.tag_threshold}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The people of one image in the coordinates of its maps."""

    keypoints: Floats
    """(P, K, 3) x, y (corner coordinates) and score; 0 everywhere for a keypoint that is missing."""
    tags: Floats
    """(P, T) mean tags."""
    scores: Floats
    """(P,) mean score of the K keypoints, 0 counted for what no peak gave, before missing ones are filled in."""


def group(
    heat_Khw: NDArray[Any],
    tags_KhwT: NDArray[Any],
    config: GroupingConfig | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> Groups:
    """Find the people of one image.

    Args:
        heat_Khw: (K, h, w) heatmaps, any float type.
        tags_KhwT: (K, h', w', T) tags, T = 2 with the flip test; fastest as a view of (K, T, h', w').
        config: settings; None for the defaults.
        size: height and width at which people are looked for, in both maps enlarged to it (bilinear, edges on edges);
            each is 1, 2 or 4 times a map's. None: those of the heatmaps.

    Returns:
        The people, in the order in which they were started; none from a map with NaN or infinity.

    Raises:
        ValueError: the shapes do not fit together.
    """
    config = config or GroupingConfig()
    count = len(config.order)
    size = size or heat_Khw.shape[1:]
    fits = heat_Khw.ndim == 3 and tags_KhwT.ndim == 4 and heat_Khw.shape[0] == tags_KhwT.shape[0] == count
    heat_times, tag_times = (factor_of(maps.shape[1:3], size) if fits else None for maps in (heat_Khw, tags_KhwT))
    if heat_times is None or tag_times is None:
        raise ValueError(
            f"grouping needs ({count}, h, w) heatmaps and ({count}, h, w, T) tags, and {size} pixels must be "
            f"{' or '.join(map(str, FACTORS))} times as many on each side: not {heat_Khw.shape} and {tags_KhwT.shape}"
        )
    dimensions = tags_KhwT.shape[3]
    tags_NThw = np.moveaxis(tags_KhwT, 3, 1).reshape(count * dimensions, *tags_KhwT.shape[1:3])
    heat = Enlarged(np.ascontiguousarray(heat_Khw, np.float32), heat_times)
    tags = Enlarged(np.ascontiguousarray(tags_NThw, np.float32), tag_times)
    if not heat.small.size or not np.isfinite(heat.small.sum()) or not np.isfinite(tags.small.sum()):
        return nobody(count, dimensions)
    peaks = find_peaks(
        heat,
        tags,
        kernel=config.nms_kernel,
        threshold=config.detection_threshold,
        count=config.max_people,
    )
    groups = people_of_peaks(peaks, between_pixels(heat, peaks.keypoint, peaks.index), config)
    if not config.refine or not len(groups.scores):
        return groups
    person, keypoint = missing(groups)
    index = best_for_tags(heat, tags, keypoint, groups.tags[person])
    points = between_pixels(heat, keypoint, index)
    return filled(groups, person, keypoint, points, heat.at(keypoint, *np.divmod(index, heat.shape[2])))


def people_of_peaks(peaks: Peaks, points_N2: Floats, config: GroupingConfig) -> Groups:
    """Group peaks, given their sub-pixel positions, into people."""
    peak_PK = assign(peaks, config.order, tag_threshold=config.tag_threshold, max_people=config.max_people)
    if not len(peak_PK):
        return nobody(len(config.order), peaks.tag.shape[1])
    found_PK = peak_PK >= 0
    chosen = peak_PK[found_PK]
    keypoints = np.zeros((*peak_PK.shape, 3), dtype=np.float32)
    keypoints[found_PK, :2] = points_N2[chosen]
    keypoints[found_PK, 2] = peaks.score[chosen]
    means = np.zeros((*peak_PK.shape, peaks.tag.shape[1]), dtype=np.float32)
    means[found_PK] = peaks.tag[chosen]
    means = means.sum(axis=1) / found_PK.sum(axis=1)[:, None].astype(np.float32)
    return Groups(keypoints=keypoints, tags=means, scores=keypoints[:, :, 2].mean(axis=1))


def missing(groups: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of person and keypoint of the missing keypoints, sorted by keypoint."""
    keypoint, person = np.nonzero(groups.keypoints[..., 2].T <= 0)
    return person, keypoint


def filled(
    groups: Groups,
    person_N: NDArray[np.int64],
    keypoint_N: NDArray[np.int64],
    points_N2: Floats,
    score_N: Floats,
) -> Groups:
    """The people with missing keypoints filled in where the heatmap is above zero."""
    above = score_N > 0
    keypoints = groups.keypoints.copy()
    keypoints[person_N[above], keypoint_N[above], :2] = points_N2[above]
    keypoints[person_N[above], keypoint_N[above], 2] = score_N[above]
    return Groups(keypoints=keypoints, tags=groups.tags, scores=groups.scores)


def nobody(keypoints: int, dimensions: int) -> Groups:
    """An empty result, of so many keypoints and dimensions of tags."""
    return Groups(
        keypoints=np.zeros((0, keypoints, 3), np.float32),
        tags=np.zeros((0, dimensions), np.float32),
        scores=np.zeros(0, np.float32),
    )


def group_batch(
    heat_BKhw: NDArray[Any] | Sequence[NDArray[Any]],
    tags_BKhwT: NDArray[Any] | Sequence[NDArray[Any]],
    config: GroupingConfig | None = None,
    *,
    size: tuple[int, int] | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> list[Groups]:
    """Find the people of several images as `group` does, in parallel when given a pool of threads.

    Raises:
        ValueError: there are not as many heatmaps as tags, or the shapes of an image's do not fit together.
    """
    if len(heat_BKhw) != len(tags_BKhwT):
        raise ValueError(f"there are heatmaps of {len(heat_BKhw)} images and tags of {len(tags_BKhwT)}")
    one = partial(group, config=config, size=size)
    return list((pool.map if pool else map)(one, heat_BKhw, tags_BKhwT))
