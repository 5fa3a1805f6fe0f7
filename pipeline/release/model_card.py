"""The model card of a registered version: what it is for, what it was made of, how good it is, where it fails."""

from collections.abc import Mapping
from typing import Any

from lhrnet.metrics.matching import Matches, by_crowding
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.evaluate import Evaluation

RECIPE = ("optim", "train", "augment", "loss")
"""Sections of the config that a recipe consists of."""

_CARD = """\
# {model}: {network}

Finds the people in an image and 17 keypoints of each, bottom-up: one pass whatever the number of people.

## Use

```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{model}@champion")
people = model.predict(["photo.jpg"])[0]
```

For pose estimation in photographs on small devices: fitness, animation, human-computer interaction, research.
Not for telling who a person is, and not for decisions about people: it was not tested for differences between groups
of people, and it finds keypoints, not intentions.

## Data

Trained on `{train}` (index sha256 `{train_index}`), tested on {dataset} {split}: {images} images, {people} annotated
people and crowds (index sha256 `{index}`).

## Recipe

{step:,} steps, seed {seed}, code at `{revision}`, checkpoint `{checkpoint}` (sha256 `{sha256}`).
The code in this folder is of `{package_revision}`.

{settings}

## Figures

Protocol {protocol}: input {size} px, flip {flip}, scales {scales}. {params:,} parameters, {macs:,}
multiply-accumulates an image; {network_ms:.1f} ms network and {decode_ms:.1f} ms decoding an image on {device}.

{scores}

{crowding}

{keypoints}

## Limits

{limits}

## Licence

Code and weights: MIT. The licence of the images is that of their data set: COCO's annotations are CC BY 4.0, and its
images stand under the terms they have on Flickr; drawn scenes are the project's own.
"""


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
    data, protocol, latency = evaluation.data, evaluation.protocol, evaluation.predictions.latency
    scale = f", r = {network.r}, channel exchange {network.cem}" if network.name == "lightweight-hrnet" else ""
    scores = evaluation.scores.as_dict()
    return _CARD.format(
        model=model,
        network=network.name + scale,
        train=config.get("data", {}).get("train") or "unknown shards",
        dataset=data["dataset"],
        split=data["split"],
        images=data["images"],
        people=data["people"],
        index=data["index_sha256"][:16],
        step=checkpoint.step,
        seed=config.get("seed", 0),
        revision=origin["git_revision"],
        train_index=origin["data_index_sha256"][:16],
        package_revision=origin["package_revision"],
        checkpoint=checkpoint.url,
        sha256=checkpoint.sha256[:16],
        settings=_settings(config),
        protocol=protocol["name"],
        size=protocol["size"],
        flip=protocol["flip"],
        scales=protocol["scales"],
        params=evaluation.params,
        macs=evaluation.macs,
        network_ms=latency.network_ms,
        decode_ms=latency.decode_ms,
        device=latency.device,
        scores=_table("figure", scores),
        crowding=_table("AP by crowding", by_crowding(matches)),
        keypoints=_table("similarity of one keypoint (OKS; people not found count 0)", matches.keypoint_oks),
        limits=_limits(scores, matches),
    )


def _settings(config: Mapping[str, Any]) -> str:
    rows = [(f"{part}.{key}", value) for part in RECIPE for key, value in dict(config.get(part, {})).items()]
    return "\n".join(["| setting | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def _table(title: str, values: Mapping[str, float]) -> str:
    rows = (f"| {key} | {'none in the split' if value < 0 else f'{value:.4f}'} |" for key, value in values.items())
    return "\n".join([f"| {title} | |", "|---|---|", *rows])


def _limits(scores: Mapping[str, float], matches: Matches) -> str:
    known = {name: value for name, value in matches.keypoint_oks.items() if value >= 0}
    crowding = {name: value for name, value in by_crowding(matches).items() if value >= 0}
    lines = []
    if known:
        worst = sorted(known, key=lambda name: known[name])[:3]
        lines.append(f"- Weakest keypoints: {', '.join(f'{name} ({known[name]:.2f})' for name in worst)}.")
    if crowding:
        name = min(crowding, key=lambda key: crowding[key])
        lines.append(f"- Weakest where an image shows {name}: AP {crowding[name]:.3f}.")
    if scores["ap_medium"] >= 0:
        medium = f"AP {scores['ap_medium']:.3f}"
        lines.append(f"- People of 32² to 96² pixels: {medium}; smaller ones are not in the figures by size.")
    lines.append("- One frame at a time: nothing is followed from frame to frame.")
    lines.append("- Crowds: at most 30 keypoints of a kind are looked at in an image, so people beyond 30 are missed.")
    return "\n".join(lines)
