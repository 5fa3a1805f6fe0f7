"""Where a new run's weights come from: chance, a checkpoint, or a backbone that was trained for something else."""

import logging
from collections.abc import Mapping

import torch

from lhrnet.network import PoseNetwork, adopt, load_backbone
from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.tensor_file import read_tensors
from pipeline.checkpoints.trained_network import load_checkpoint
from pipeline.storage import store
from pipeline.training.step_plan import TrainConfig

log = logging.getLogger(__name__)


def start_from(network: PoseNetwork, train: TrainConfig) -> None:
    """Load what `train.init_from` or `train.backbone_from` names; without either the weights stay as they are.

    Raises:
        ValueError: it is of another network, damaged, or no file of weights.
        FileNotFoundError: nothing is there.
        PermissionError, ConnectionError: the store cannot be read.
    """
    if train.init_from:
        origin = load_checkpoint(train.init_from)
        weights, skeleton = origin.weights, origin.model.keypoints
        if skeleton.keypoints != network.config.keypoints.keypoints:
            adopted = adopt(network, weights, skeleton)
            log.warning("train.init_from=%s has other keypoints: %s", train.init_from, adopted)
            weights = adopted.weights
        checkpoint.load_weights(network, weights, origin.url)
    elif train.backbone_from:
        try:
            report = load_backbone(network, _weights(train.backbone_from))
        except ValueError as error:
            raise ValueError(f"train.backbone_from={train.backbone_from}: {error}") from error
        if report.missing:
            log.warning("%s: %s; what is missing keeps random weights", train.backbone_from, report)


def _weights(url: str) -> Mapping[str, torch.Tensor]:
    """A file's state dict, also where it lies under the names that training code commonly gives it."""
    data = store.read_bytes(url)
    found = read_tensors(data, "it")
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"holds a {type(found).__name__}, not weights by name")
    return found
