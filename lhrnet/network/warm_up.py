"""Weights of a network of other keypoints as the start of this one: heads are taken by the keypoints' names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lhrnet.network.stages import PoseNetwork
from lhrnet.skeleton import Skeleton
from lhrnet.skeleton.skeleton import side_of


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """A state dict for the network, and which of its keypoints come from the other."""

    weights: Mapping[str, Tensor]
    taken: tuple[str, ...]
    """Keypoints whose maps were trained before."""
    fresh: tuple[str, ...]
    """Keypoints that the other network does not find: their maps keep random weights."""

    def __str__(self) -> str:
        text = f"maps of {len(self.taken)} keypoints are taken by name ({', '.join(self.taken) or 'none'})"
        return f"{text}; new are {', '.join(self.fresh)}" if self.fresh else text


def adopt(network: PoseNetwork, weights: Mapping[str, Tensor], skeleton: Skeleton) -> Adopted:
    """Fit another network's weights to this one's keypoints.

    The layers that have a map for each keypoint (the last convolution at either resolution, and the inputs of the
    up-convolution that are such maps) are taken map by map; all others as they are.

    Args:
        network: with random weights; not changed.
        weights: of a network that differs in its keypoints alone; others are for the caller to refuse.
        skeleton: the keypoints of those weights.
    """
    own, mine = network.state_dict(), network.config.keypoints
    place = {side_of(name): k for k, name in enumerate(skeleton.keypoints)}
    pairs = [(k, place[side_of(name)]) for k, name in enumerate(mine.keypoints) if side_of(name) in place]
    result = dict(weights)
    for key in ("head.final0.weight", "head.final0.bias", "head.final1.weight", "head.final1.bias"):
        if key in weights and key in own:
            result[key] = _by_map(own[key], weights[key], pairs, mine.count, skeleton.count)
    up = "head.deconv.0.weight"
    if up in weights and up in own:
        width = own[up].shape[0] - 2 * mine.count  # channels of the branch, before those of the maps
        if weights[up].shape[0] - 2 * skeleton.count == width and own[up].shape[1:] == weights[up].shape[1:]:
            maps = _by_map(own[up][width:], weights[up][width:], pairs, mine.count, skeleton.count)
            result[up] = own[up].clone()
            result[up][:width], result[up][width:] = weights[up][:width], maps
    taken = {k for k, _ in pairs}
    return Adopted(
        weights=result,
        taken=tuple(mine.keypoints[k] for k, _ in pairs),
        fresh=tuple(name for k, name in enumerate(mine.keypoints) if k not in taken),
    )


def _by_map(own: Tensor, other: Tensor, pairs: Sequence[tuple[int, int]], count: int, others: int) -> Tensor:
    """Own rows, heatmaps' then tags', with those of shared keypoints replaced by the other's."""
    if own.shape[1:] != other.shape[1:] or own.shape[0] // count != other.shape[0] // others:
        return other  # another width or form of head: whoever loads it says so
    result = own.clone()
    for kind in range(own.shape[0] // count):
        for k, there in pairs:
            result[kind * count + k] = other[kind * others + there]
    return result
