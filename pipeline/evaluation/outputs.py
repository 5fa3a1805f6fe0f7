"""What an evaluation leaves behind: its files, where they belong, and the names of its metrics."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lhrnet.draw import MIN_SCORE, contact_sheet, draw_people
from lhrnet.person import Person
from lhrnet.skeleton import Skeleton
from lhrnet.skeleton.infer import of_truth
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.pictures import jpeg
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.storage import store


def evaluation_files(evaluation: Evaluation) -> dict[str, bytes]:
    """An evaluation as files, by name: figures, detections in COCO's results format, pictures of detected people."""
    return {
        "evaluation.json": json.dumps(evaluation.as_dict(), indent=1).encode(),
        "detections.json": json.dumps(evaluation.predictions.detections, separators=(",", ":")).encode(),
        **prediction_pictures(evaluation.predictions, of_truth(evaluation.truth), evaluation.score_threshold),
    }


def prediction_pictures(
    predictions: Predictions, skeleton: Skeleton, min_score: float | None = None
) -> dict[str, bytes]:
    """JPEGs by name: each chosen image with its detected people drawn, and one sheet of all.

    Args:
        predictions: with the chosen images.
        skeleton: whose keypoints the people have.
        min_score: people below are not drawn; None: `lhrnet.draw.MIN_SCORE`.
    """
    people = defaultdict(list)
    for detection in predictions.detections:
        people[detection["image_id"]].append(Person.from_coco(detection))
    shown = MIN_SCORE if min_score is None else min_score
    drawn = {i: draw_people(image, people[i], skeleton, min_score=shown) for i, image in predictions.pictures.items()}
    named = {f"pictures/{i:012d}.jpg": jpeg(image) for i, image in drawn.items()}
    return {"pictures/all.jpg": jpeg(contact_sheet(list(drawn.values()))), **named} if drawn else {}


def write_files(url: str, content: Mapping[str, bytes]) -> None:
    """Write files below a storage URL."""
    for name, data in content.items():
        store.write_bytes(store.join(url, name), data)


def run_folder(checkpoint: Checkpoint, otherwise: str) -> str:
    """The folder for files about a checkpoint: that of its run, or its own where it is in no run's folder.

    Args:
        checkpoint: as it was loaded.
        otherwise: the folder for a checkpoint from the web, which cannot be written to.
    """
    if checkpoint.url.startswith(("http://", "https://")):
        return otherwise
    return checkpoint.url.rpartition("/checkpoints/")[0] or checkpoint.url


def protocol_label(config: EvaluateConfig, checkpoint: Checkpoint) -> str:
    """The protocol's name in folders and metrics: with the input size where it is not the network's own."""
    own = config.size in (None, checkpoint.model.side)
    return config.protocol if own else f"{config.protocol}-{config.size}"


def data_label(data: Mapping[str, Any]) -> str:
    """A split's name in folders and metrics, e.g. `val2017-1f0c92ab`: two data sets may have one split name.

    Args:
        data: from `describe_data`. The digest is the beginning of the index's sha256, so the same shards have the same.
    """
    return f"{data['split']}-{data['index_sha256'][:8]}"


def metrics_by_name(evaluation: Evaluation, label: str) -> dict[str, float]:
    """Figures by the names they have in MLflow, e.g. `val2017-1f0c92ab/plain/ap`."""
    prefix = f"{data_label(evaluation.data)}/{label}"
    latency = evaluation.predictions.latency
    named = {**evaluation.scores.as_dict(), "network_ms": latency.network_ms, "decode_ms": latency.decode_ms}
    return {f"{prefix}/{name}": value for name, value in named.items()}
