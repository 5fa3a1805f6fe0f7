"""The model card of a registered version: what it is for, what it was made of, how good it is, where it fails."""

from collections.abc import Mapping
from typing import Any

from lhrnet.metrics.matching import Matches, by_crowding
from lhrnet.network.catalogue import settings_of
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.marks import keys_marked
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.markdown import markdown_table
from pipeline.evaluation.templates import template


def render(
    checkpoint: Checkpoint, evaluation: Evaluation, matches: Matches, *, model: str, origin: Mapping[str, str]
) -> str:
    """Write the card.

    Args:
        checkpoint: the model.
        evaluation: its figures on the validation split.
        matches: of the same evaluation.
        model: the registered model's name.
        origin: `git_revision` and `data_index_sha256` of the training run, `package_revision` of the code that is
            packaged with it.

    Returns:
        Markdown.
    """
    config, network = checkpoint.config, checkpoint.model
    words = {"r": "r =", "cem": "channel exchange"}
    own = [f"{text} {getattr(network, key)}" for key, text in words.items() if key in settings_of(network.name)]
    scores = evaluation.scores.as_dict()
    return template("release/model_card.md.j2").render(
        model=model,
        network=", ".join([network.name, *own]),
        checkpoint=checkpoint,
        evaluation=evaluation,
        data=evaluation.data,
        protocol=evaluation.protocol,
        latency=evaluation.predictions.latency,
        origin=origin,
        train=config.get("data", {}).get("train") or "unknown shards",
        seed=config.get("seed", 0),
        settings=_settings(config),
        scores=_table("figure", scores),
        crowding=_table("AP by crowding", by_crowding(matches)),
        keypoints=_table("similarity of one keypoint (OKS; people not found count 0)", matches.keypoint_oks),
        limits=_limits(scores, matches),
    )


def _settings(config: Mapping[str, Any]) -> str:
    rows = [
        (f"{part}.{key}", str(value))
        for part in keys_marked("recipe")
        for key, value in dict(config.get(part, {})).items()
    ]
    return markdown_table([("setting", ""), *rows])


def _table(title: str, values: Mapping[str, float]) -> str:
    rows = ((key, "none in the split" if value < 0 else f"{value:.4f}") for key, value in values.items())
    return markdown_table([(title, ""), *rows])


def _limits(scores: Mapping[str, float], matches: Matches) -> list[str]:
    known = {name: value for name, value in matches.keypoint_oks.items() if value >= 0}
    crowding = {name: value for name, value in by_crowding(matches).items() if value >= 0}
    lines = []
    if known:
        worst = sorted(known, key=lambda name: known[name])[:3]
        lines.append(f"Weakest keypoints: {', '.join(f'{name} ({known[name]:.2f})' for name in worst)}.")
    if crowding:
        name = min(crowding, key=lambda key: crowding[key])
        lines.append(f"Weakest where an image shows {name}: AP {crowding[name]:.3f}.")
    if scores["ap_medium"] >= 0:
        medium = f"AP {scores['ap_medium']:.3f}"
        lines.append(f"People of 32² to 96² pixels: {medium}; smaller ones are not in the figures by size.")
    lines.append("One frame at a time: nothing is followed from frame to frame.")
    lines.append("Crowds: at most 30 keypoints of a kind are looked at in an image, so people beyond 30 are missed.")
    return lines
