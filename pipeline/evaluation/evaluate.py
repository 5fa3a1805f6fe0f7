"""Detections scored against the ground truth: the only scorer behind `lhrnet evaluate`, `report` and the gate."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from lhrnet.geometry import input_size
from lhrnet.inference import PROTOCOLS
from lhrnet.metrics.coco_eval import Scores, score
from lhrnet.metrics.matching import Matches, best_threshold, match
from lhrnet.network.config import ModelConfig
from lhrnet.network.profile import Profile, profile
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.data.index import ShardIndex, index_bytes, read_index, truth
from pipeline.evaluation.gate import Measurements
from pipeline.evaluation.predictions import Predictions, predict_split
from pipeline.evaluation.worker import EvaluateConfig


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One checkpoint's figures on one split under one protocol, with data and predictions behind them."""

    checkpoint: str
    """Its URL."""
    step: int
    """Training steps behind it."""
    data: Mapping[str, Any]
    """The shards: url, dataset, split, images, people, images of the split that were left out, sha256 of the index."""
    protocol: Mapping[str, Any]
    """Input size, flip, scales, and every setting of the grouping."""
    scores: Scores
    params: int
    macs: int
    """Multiply-accumulates of one forward pass of a square image at the scored size; flips and scales need more."""
    predictions: Predictions
    truth: Mapping[str, Any]
    """The split's ground truth as COCO annotations."""

    def as_dict(self) -> dict[str, Any]:
        """What is printed and stored: plain JSON values, without the detections."""
        latency = self.predictions.latency
        return {
            "checkpoint": self.checkpoint,
            "step": self.step,
            "data": dict(self.data),
            "protocol": dict(self.protocol),
            "scores": self.scores.as_dict(),
            "score_threshold": self.score_threshold,
            "detections": len(self.predictions.detections),
            "params": self.params,
            "macs": self.macs,
            "latency": asdict(latency) | {"total_ms": latency.total_ms},
        }

    @cached_property
    def matches(self) -> Matches:
        """Which detection was matched to which person, for comparisons and reports."""
        return match(self.truth, self.predictions.detections, self.predictions.image_ids)

    @property
    def score_threshold(self) -> float | None:
        """Score from which the people found agree best with the annotated ones; None where nobody is found."""
        return best_threshold(self.matches)

    def measurements(self, version: str, matches: Matches) -> Measurements:
        """What the gate's rules are applied to."""
        latency = self.predictions.latency
        return Measurements(
            version=version,
            scores=self.scores.as_dict(),
            keypoint_oks=matches.keypoint_oks,
            params=self.params,
            macs=self.macs,
            latency_ms=latency.total_ms,
            device=latency.device,
            protocol=self.protocol,
        )


def evaluate(
    checkpoint: Checkpoint,
    url: str,
    config: EvaluateConfig,
    *,
    index: ShardIndex | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Find the people in a split and score them.

    Args:
        checkpoint: the model.
        url: the split's folder of shards.
        config: protocol and workers.
        index: saves reading it again.
        progress: called with the number of images that were done since the last call.

    Raises:
        ValueError: the split has no annotated people; otherwise as `predict_split`.
        FileNotFoundError: there are no shards.
        RuntimeError: as `predict_split`.
    """
    index = index or read_index(url)
    if not index.keypoints:
        raise ValueError(
            f"{url} ({index.split}) shows no labelled person to score against: evaluate a validation split, "
            "and use `lhrnet submit` for test images"
        )
    annotations = truth(url, index)
    predictions = predict_split(checkpoint, url, index, config, progress=progress)
    counted = scored_profile(checkpoint.model, config)
    return Evaluation(
        checkpoint=checkpoint.url,
        step=checkpoint.step,
        data=describe_data(url, index),
        protocol=describe_protocol(config, checkpoint),
        scores=score(annotations, predictions.detections, predictions.image_ids),
        params=counted.params,
        macs=counted.macs,
        predictions=predictions,
        truth=annotations,
    )


def scored_profile(model: ModelConfig, config: EvaluateConfig) -> Profile:
    """A network's parameters and operations for one square image at the size that it is scored at."""
    size = config.size or model.side
    return profile(model, input_size(size, size, size, min_scale=min(PROTOCOLS[config.protocol].scales)))


def describe_data(url: str, index: ShardIndex) -> dict[str, Any]:
    """A split for the record: where it is, and the checksum of its content."""
    return {
        "url": url,
        "dataset": index.dataset,
        "split": index.split,
        "images": index.images,
        "people": index.annotations,
        "left_out": len(index.left_out),
        "index_sha256": hashlib.sha256(index_bytes(index)).hexdigest(),
    }


def describe_protocol(config: EvaluateConfig, checkpoint: Checkpoint) -> dict[str, Any]:
    """The protocol for the record: its name and every setting that the figures depend on."""
    settings = asdict(PROTOCOLS[config.protocol])
    del settings["grouping"]["order"]  # the skeleton's, whatever the protocol
    size = config.size or checkpoint.model.side
    tree: dict[str, Any] = json.loads(json.dumps({"name": settings.pop("name"), "size": size, **settings}))
    return tree
