"""Pictures for the report: the worst and the best images, ground truth beside prediction, and heatmaps and tags."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import labelled
from lhrnet.draw import contact_sheet, draw_people
from lhrnet.metrics.coco_eval import image_oks
from lhrnet.metrics.errors import FOUND, pair_up
from lhrnet.person import Person
from lhrnet.skeleton.infer import of_truth
from pipeline.checkpoints.checkpoint import Checkpoint, build_network
from pipeline.data.index import read_index
from pipeline.data.samples import read_images
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.pictures import jpeg, map_row

Image = NDArray[np.uint8]
Kind = Literal["worst", "best", "maps"]


@dataclass(frozen=True)
class ReportPicture:
    """One picture of the report."""

    kind: Kind
    image_id: int
    caption: str
    jpeg: bytes


def choose_and_draw(
    evaluation: Evaluation, checkpoint: Checkpoint, threshold: float, *, count: int
) -> tuple[ReportPicture, ...]:
    """The `count` worst and best images, and maps of as many evenly spaced between them."""
    quality = image_quality(evaluation, threshold)
    ranked = sorted(quality, key=lambda image_id: (quality[image_id], image_id))
    count = min(count, len(ranked) // 2)
    worst, best = ranked[:count], ranked[::-1][:count]
    middle = [ranked[(2 * i + 1) * len(ranked) // (2 * count)] for i in range(count)] if count else []
    url = str(evaluation.data["url"])
    wanted = {*worst, *best, *middle}
    index = read_index(url)
    read = read_images(url, index.shards, wanted, index.skeleton.count)
    images = {sample.image_id: sample.image for sample in read}
    kinds: tuple[tuple[Kind, list[int]], ...] = (("worst", worst), ("best", best))
    shown = [
        ReportPicture(
            kind, i, f"image {i}, quality {quality[i]:.2f}", jpeg(_beside(evaluation, i, images[i], threshold))
        )
        for kind, ids in kinds
        for i in ids
    ]
    return (*shown, *_maps(checkpoint, {i: images[i] for i in middle}, int(evaluation.protocol["size"])))


def image_quality(evaluation: Evaluation, threshold: float) -> dict[int, float]:
    """Quality of the detections in each image with labelled people: sum of OKS / (labelled people + false positives).

    A detection on a crowd or on a person without labels is not a false positive.

    Args:
        evaluation: detections and ground truth.
        threshold: score from which detections count.

    Returns:
        0 to 1 by image id, for images that show a labelled person.
    """
    ids = evaluation.predictions.image_ids
    sure = [d for d in evaluation.predictions.detections if d["score"] >= threshold]
    pairs = pair_up(evaluation.truth, sure, ids)
    paired = {id(pair.detection) for pair in pairs}
    oks: defaultdict[int, float] = defaultdict(float)
    for pair in pairs:
        oks[pair.image_id] += pair.oks
    quality = {}
    for image in image_oks(evaluation.truth, sure, ids):
        counted = np.array([labelled(annotation) for annotation in image.annotations], dtype=bool)
        excused = image.oks[:, ~counted].max(axis=1, initial=0.0) >= FOUND
        alone = [id(detection) not in paired for detection in image.detections]
        false_positives = int((np.array(alone, dtype=bool) & ~excused).sum())
        if counted.any():
            quality[image.image_id] = oks[image.image_id] / (int(counted.sum()) + false_positives)
    return quality


def _beside(evaluation: Evaluation, image_id: int, image: Image, threshold: float) -> Image:
    truth = [a for a in evaluation.truth["annotations"] if a["image_id"] == image_id and not a.get("iscrowd")]
    found = [d for d in evaluation.predictions.detections if d["image_id"] == image_id and d["score"] >= threshold]
    skeleton = of_truth(evaluation.truth)
    pictures = [
        draw_people(image, [Person.from_coco(entry) for entry in entries], skeleton, scores=scores)
        for entries, scores in ((truth, False), (found, True))
    ]
    return contact_sheet(pictures, columns=2, captions=(f"truth: {len(truth)}", f"found: {len(found)}"))


def _maps(checkpoint: Checkpoint, images: Mapping[int, Image], size: int) -> list[ReportPicture]:
    """The image, its heatmaps and its tags, as the network gives them without flip or other scales."""
    network = build_network(checkpoint)
    pictures = []
    for image_id, image in images.items():
        drawn = map_row(network, image, size)
        sheet = contact_sheet(drawn, columns=3, captions=("input", "heatmaps", "tags"))
        pictures.append(ReportPicture("maps", image_id, f"image {image_id}", jpeg(sheet)))
    return pictures
