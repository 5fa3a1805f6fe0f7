"""Grouping for maps on a GPU: per-pixel work runs there for the whole batch, and only peaks are copied to the host.

The people are those of `lhrnet.decoder.grouping.group`, except which of equally high peaks are dropped where a keypoint
has more than `max_people`. The host waits for the device twice: for the peaks, and for the keypoints filled in. On a
CPU the numpy form is much faster (`python -m benchmarks grouping`).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from lhrnet.decoder.grouping import GroupingConfig, Groups, filled, group, missing, nobody, people_of_peaks
from lhrnet.decoder.peaks import Peaks

_CHUNK = 1 << 24
"""Pixels per chunk of tag distances, which bounds the memory."""


def group_on_device(
    heat_BKhw: Tensor,
    tags_BKThw: Tensor,
    config: GroupingConfig | None = None,
    *,
    pool: ThreadPoolExecutor | None = None,
) -> list[Groups]:
    """Find the people of several images.

    Args:
        heat_BKhw: heatmaps, float32, on any device.
        tags_BKThw: tags of the same size, one plane for each tag dimension.
        config: settings; None for the defaults.
        pool: threads that group several images in parallel.

    Raises:
        ValueError: the shapes do not fit together.
    """
    config = config or GroupingConfig()
    images, keypoints, *size = heat_BKhw.shape
    count = len(config.order)
    if keypoints != count or len(size) != 2 or tags_BKThw.shape != (images, count, tags_BKThw.shape[2], *size):
        shapes = f"{tuple(heat_BKhw.shape)} and {tuple(tags_BKThw.shape)}"
        raise ValueError(f"grouping needs (B, {count}, h, w) heatmaps and (B, {count}, T, h, w) tags, not {shapes}")
    if not heat_BKhw.numel():
        return [nobody(count, tags_BKThw.shape[2])] * images
    finite_B = torch.isfinite(heat_BKhw.sum((1, 2, 3))) & torch.isfinite(tags_BKThw.sum((1, 2, 3, 4)))
    is_peak, plateaus_B = _peak_pixels(heat_BKhw, config)
    most = min(config.max_people, heat_BKhw[0, 0].numel())
    scores, index = torch.where(is_peak, heat_BKhw, -torch.inf).flatten(2).topk(most)
    tags = tags_BKThw.flatten(3).gather(3, index[:, :, None].expand(-1, -1, tags_BKThw.shape[2], -1))
    maps = torch.arange(heat_BKhw.shape[0] * heat_BKhw.shape[1], device=heat_BKhw.device)
    points = _between_pixels(heat_BKhw, maps.view(*heat_BKhw.shape[:2], 1), index)
    scores_, index_, tags_, points_, finite, plateaus = (
        part.cpu().numpy() for part in (scores, index, tags.movedim(2, 3), points, finite_B, plateaus_B)
    )

    def people(image: int) -> Groups:
        if not finite[image]:
            return nobody(count, tags_BKThw.shape[2])
        peaks, order = _peaks(scores_[image], index_[image], tags_[image])
        return people_of_peaks(peaks, points_[image].reshape(-1, 2)[order], config)

    mapped: Callable[..., Iterable[Any]] = pool.map if pool else map
    found = list(mapped(people, range(len(heat_BKhw))))
    if config.refine:
        found = _refined(found, heat_BKhw, tags_BKThw)
    for image in np.flatnonzero(finite & plateaus):
        tags_KhwT = tags_BKThw[image].movedim(1, -1).cpu().numpy()
        found[image] = group(heat_BKhw[image].cpu().numpy(), tags_KhwT, config)
    return found


def _peak_pixels(heat_BKhw: Tensor, config: GroupingConfig) -> tuple[Tensor, Tensor]:
    """Which pixels are peaks, and in which images a plateau may be larger than the window or keep several."""
    kernel = config.nms_kernel
    is_peak = (max_pool2d(heat_BKhw, kernel, 1, kernel // 2) == heat_BKhw) & (heat_BKhw > config.detection_threshold)
    framed = pad(is_peak, (1, 1, 1, 0))
    left, north, north_east = framed[..., 1:, :-2] | framed[..., :-1, :-2], framed[..., :-1, 1:-1], framed[..., :-1, 2:]
    touches = is_peak & (left | north | north_east)
    joins = is_peak & left & north_east & ~north
    return is_peak & ~touches, (touches.sum((2, 3)) >= kernel * kernel).any(1) | joins.any(3).any(2).any(1)


def _peaks(score_KN: Any, index_KN: Any, tag_KNT: Any) -> tuple[Peaks, Any]:
    """The top peaks as `Peaks`, equal heights in order of their pixels, and their indices in the flattened input."""
    above = np.isfinite(score_KN)
    keypoint = np.nonzero(above)[0]
    flat = np.flatnonzero(above)
    score, index = score_KN.reshape(-1)[flat], index_KN.reshape(-1)[flat]
    order = np.lexsort((index, -score, keypoint))
    peaks = Peaks(
        index=index[order],
        score=score[order],
        tag=tag_KNT.reshape(-1, tag_KNT.shape[-1])[flat[order]],
        start=np.concatenate([[0], np.cumsum(above.sum(axis=1))]),
    )
    return peaks, flat[order]


def _between_pixels(heat_BKhw: Tensor, map_N: Tensor, index_N: Tensor) -> Tensor:
    """`lhrnet.decoder.refinement.between_pixels` on the device.

    Args:
        heat_BKhw: heatmaps.
        map_N: image * K + keypoint, of any shape that goes with the next.
        index_N: y * w + x.

    Returns:
        (..., 2) x, y.
    """
    height, width = heat_BKhw.shape[2:]
    heat, start = heat_BKhw.reshape(-1), map_N * (height * width)
    x, y = index_N % width, index_N // width
    points = torch.stack([x, y], dim=-1) + 0.5

    def at(columns: Tensor, rows: Tensor) -> Tensor:
        return heat[start + rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)]

    before, after = torch.stack([at(x - 1, y), at(x, y - 1)], dim=-1), torch.stack([at(x + 1, y), at(x, y + 1)], dim=-1)
    shift = torch.where(after > before, 0.25, -0.25)
    return points + torch.where(after == before, 0.0, shift)


def _refined(found: list[Groups], heat_BKhw: Tensor, tags_BKThw: Tensor) -> list[Groups]:
    """Fill in missing keypoints, for all people of all images together."""
    device = heat_BKhw.device
    wanted = [missing(groups) for groups in found]
    counts = [len(person) for person, _ in wanted]
    if not sum(counts):
        return found
    image = torch.from_numpy(np.repeat(np.arange(len(found)), counts)).to(device)
    keypoint = torch.from_numpy(np.concatenate([keypoint for _, keypoint in wanted])).to(device)
    means = np.concatenate([groups.tags[person] for groups, (person, _) in zip(found, wanted, strict=True)])
    mean_NT = torch.from_numpy(means).to(device)
    heat, tags = heat_BKhw.flatten(2), tags_BKThw.flatten(3)
    step = max(1, _CHUNK // tags[0, 0].numel())
    parts = []
    for first in range(0, len(image), step):
        i, k, mean = image[first : first + step], keypoint[first : first + step], mean_NT[first : first + step]
        distance = torch.linalg.vector_norm(tags[i, k] - mean[..., None], dim=1)
        parts.append((heat[i, k] - distance.round_()).argmax(1))
    index = torch.cat(parts)
    score = heat[image, keypoint, index]
    points = _between_pixels(heat_BKhw, image * heat_BKhw.shape[1] + keypoint, index)
    stops = np.cumsum(counts)[:-1]
    points_, score_ = (np.split(part.cpu().numpy(), stops) for part in (points, score))
    return [
        filled(groups, person, k, at, height) if len(person) else groups
        for groups, (person, k), at, height in zip(found, wanted, points_, score_, strict=True)
    ]
