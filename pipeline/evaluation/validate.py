"""Scoring a network that is in memory, every worker its part: what training and export measure by."""

from dataclasses import dataclass

from torch import nn

from lhrnet.inference import InferenceProtocol
from lhrnet.metrics.coco_eval import Scores, score
from lhrnet.metrics.matching import best_threshold, match
from lhrnet.predictor import Predictor
from lhrnet.skeleton import check_same_keypoints
from pipeline.cluster.world import World
from pipeline.data.index import read_index, truth
from pipeline.data.samples import read_samples
from pipeline.evaluation.detect import Detections, check_complete, detect, grouping_threads


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A split's figures."""

    scores: Scores
    images: int
    threshold: float | None
    """Score from which the people found agree best with the annotated ones; None where nobody is found."""


def validate(
    network: nn.Module,
    url: str,
    *,
    size: int,
    protocol: InferenceProtocol | str = "plain",
    limit: int = 0,
    world: World | None = None,
) -> Validation | None:
    """Score a network on a split, all workers together.

    Args:
        network: in eval mode, with the same weights on every worker.
        url: the split's shards.
        size: the input's short side.
        protocol: settings or a preset's name.
        limit: only the first `limit` images; 0: all.
        world: who takes part; None: this process alone.

    Returns:
        The figures on the first worker, None on the others.

    Raises:
        ValueError: the split has other keypoints than the network.
        RuntimeError: an image was not predicted exactly once.
    """
    world = world or World()
    index = read_index(url)
    samples = read_samples(url, rank=world.rank, world=world.size, index=index, limit=limit)
    predictor = Predictor(network, size, protocol, world.device, pool=grouping_threads(world.device))
    check_same_keypoints(index.skeleton, url, predictor.skeleton, "the network")
    parts: list[Detections] = world.gather(detect(predictor, samples))
    if not world.first:
        return None
    wanted = index.image_ids[: limit or None]
    check_complete([image_id for part in parts for image_id in part.image_ids], wanted, url)
    people = [person for part in parts for person in part.people]
    annotations = truth(url, index)
    return Validation(
        scores=score(annotations, people, list(wanted)),
        images=len(wanted),
        threshold=best_threshold(match(annotations, people, wanted)),
    )
