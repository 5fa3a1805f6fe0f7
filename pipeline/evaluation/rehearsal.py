"""A submission scored from its zip alone, as COCO's server scores it; possible where the annotations are public."""

from lhrnet.metrics.coco_eval import Scores, score
from pipeline.data.index import ShardIndex, read_index, truth
from pipeline.evaluation import submission


def check_split(index: ShardIndex, split: submission.Split, url: str) -> None:
    """Refuse shards of another split than the one that is submitted.

    Raises:
        ValueError: the index is of another split.
    """
    if index.split != split:
        raise ValueError(f"{url} holds {index.split}, and {split} is to be submitted: give that split's shards")


def check_whole(index: ShardIndex, url: str) -> None:
    """Refuse shards that lack images of their split: COCO's server expects people in those too.

    Raises:
        ValueError: images are left out; the message names some and what to do.
    """
    if index.left_out:
        some = ", ".join(str(left.image_id) for left in index.left_out[:3])
        raise ValueError(
            f"{url} lacks {len(index.left_out)} images of {index.split} (such as {some}; the first: "
            f"{index.left_out[0].reason}), and the server would count everyone in them as not found: mend the files "
            "and run `lhrnet shard` again, or make the zip without them by --partial"
        )


def score_zip(blob: bytes, url: str, origin: str) -> Scores:
    """Score what a zip holds.

    Args:
        blob: the zip.
        url: shards of the split, for its annotations.
        origin: where the zip lies, for messages.

    Raises:
        ValueError: the server would not take the zip, or it is of a split whose annotations are not public.
    """
    split, _, detections = submission.read(blob, origin)
    index = read_index(url)
    check_split(index, split, url)
    if not index.keypoints:
        raise ValueError(f"{origin} is of {split}, whose annotations are not public: only COCO's server can score it")
    submission.check(detections, frozenset(index.image_ids))
    return score(truth(url, index), detections)
