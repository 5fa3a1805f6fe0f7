"""Whether two things are about the same keypoints: data and network, checkpoint and shards, one split and another."""

from lhrnet.skeleton.skeleton import Skeleton


def check_same_keypoints(one: Skeleton, whose: str, other: Skeleton, others: str) -> None:
    """Refuse to use together what has other keypoints: they would be taken for each other by their place.

    Names, their order and their mirror must be equal. Limbs and colours only change drawings. Tolerances may differ, as
    they do once measured ones replace estimates: scores are by the data's.

    Args:
        one: the first skeleton.
        whose: what has it, for the message.
        other: the second.
        others: what has that.

    Raises:
        ValueError: naming both, and the first keypoint that differs.
    """
    if (one.keypoints, one.flip) == (other.keypoints, other.flip):
        return
    pairs = enumerate(zip(one.keypoints, other.keypoints, strict=False))
    apart = next((f"keypoint {k} is {a!r} there and {b!r} here" for k, (a, b) in pairs if a != b), "")
    if not apart and one.count == other.count:
        apart = "the same names change places in other pairs in a mirrored image"
    raise ValueError(
        f"{whose} has the {one.count} keypoints of {one.name!r} and {others} the {other.count} of {other.name!r}"
        f"{f': {apart}' if apart else ''}; use data and a network of one skeleton"
    )
