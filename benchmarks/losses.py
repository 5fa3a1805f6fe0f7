"""The losses' forward and backward on one thread, batch 16: batched, beside a loop over images and people."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.timing import median_ms
from lhrnet.coco import MAX_PEOPLE, K
from lhrnet.losses.pose_loss import REFERENCE, pose_loss, tag_loss
from lhrnet.losses.targets import tag_indices

BATCH = 16
REFERENCE_MS = {(112, 3): 89, (112, 30): 498, (224, 3): 684, (224, 30): 2274}
"""The reference code's tag loss forward and backward, by map size and people an image, on another machine's thread."""


def run() -> list[dict[str, object]]:
    """Measure the tag loss at the reference's sizes, and the whole loss at its 448 pixel input."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for case in REFERENCE_MS for row in _tag_rows(*case)] + [_pose_row()]
    finally:
        torch.set_num_threads(threads)


def _tag_rows(size: int, people: int) -> list[dict[str, object]]:
    tags = torch.randn(BATCH, K, size, size, requires_grad=True)
    index, valid = tag_indices(_joints(people, size), (size, size))
    batched = median_ms(_backward(tags, lambda: torch.stack(tag_loss(tags, index, valid)).mean()), 15)
    looped = median_ms(_backward(tags, lambda: _loop(tags, index, valid)), 3)
    zeroing = median_ms(lambda: tags.new_zeros(tags.shape), 15)
    name, reference = f"tag loss {size} px, {people} people", REFERENCE_MS[size, people]
    return [
        {"name": name, "median": batched, "unit": "ms", "ratio": reference / batched,
         "notes": f"times as fast as the reference code's {reference} ms"},
        {"name": f"{name}, as a loop", "median": looped, "unit": "ms", "ratio": looped / batched,
         "notes": "times as slow as batched"},
        {"name": f"{name}, the floor", "median": zeroing, "unit": "ms", "ratio": zeroing / batched,
         "notes": "of the batched time: zeroing a gradient of this size, nothing else"},
    ]  # fmt: skip


def _pose_row() -> dict[str, object]:
    size, people = 448, 5
    outputs = tuple(torch.randn(BATCH, 2 * K, size // s, size // s, requires_grad=True) for s in (4, 2))
    joints, mask = _joints(people, size), torch.ones(BATCH, size // 2, size // 2, dtype=torch.uint8)
    took = median_ms(_backward(outputs, lambda: pose_loss((outputs[0], outputs[1]), joints, mask, REFERENCE).total), 5)
    notes = "targets, heatmap and tag losses at both resolutions"
    return {"name": f"whole loss, {size} px input, {people} people", "median": took, "unit": "ms", "notes": notes}


def _backward(of: Tensor | tuple[Tensor, ...], loss: Callable[[], Tensor]) -> Callable[[], object]:
    return lambda: torch.autograd.grad(loss(), of)


def _joints(people: int, size: int) -> Tensor:
    joints = torch.zeros(BATCH, MAX_PEOPLE, K, 3)
    joints[:, :people, :, :2] = torch.rand(BATCH, people, K, 2, generator=torch.Generator().manual_seed(0)) * size
    joints[:, :people, :, 2] = 2
    return joints


def _loop(tags_BKhw: Tensor, index_BPK: Tensor, valid_BPK: Tensor) -> Tensor:
    """The same loss as its definition reads: image by image, person by person, joint by joint."""
    total = tags_BKhw.new_zeros(())
    for tags, indices, valids in zip(tags_BKhw.flatten(1), index_BPK, valid_BPK, strict=True):
        means: list[Tensor] = []
        pull = push = tags.new_zeros(())
        for person, valid in zip(indices, valids, strict=True):
            own = [tags[int(place)] for place, tagged in zip(person, valid, strict=True) if tagged]
            if own:
                joined = torch.stack(own)
                means.append(joined.mean())
                pull = pull + (joined - joined.mean()).square().mean()
        number = len(means)
        if number > 1:
            apart = torch.stack(means)[:, None] - torch.stack(means)[None]
            push = 0.5 * (torch.exp(-apart.square()).sum() - number) / (number * (number - 1))
        total = total + pull / max(number, 1) + push
    return total / (2 * len(tags_BKhw))
