"""The report of one model or of two side by side: everything gathered, then written as one page and its figures."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhrnet.metrics.errors import ErrorSplit, split_errors
from lhrnet.metrics.matching import Matches, best_threshold, by_crowding
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.report.figures import draw
from pipeline.evaluation.report.html import render
from pipeline.evaluation.report.worst_best import Picture, choose_and_draw
from pipeline.storage import store

OWN = re.compile(r"pictures/[12]-(worst|best|maps)-\d{12}\.jpg|figures/(precision-recall|keypoint-errors)-[12]\.png")
"""Files of which one report has more or others than the next."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What the report says about one model."""

    name: str
    evaluation: Evaluation
    matches: Matches
    errors: ErrorSplit
    crowding: Mapping[str, float]
    threshold: float
    """Score above which found people agree best with the truth: those that are drawn."""
    pictures: tuple[Picture, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers, as JSON values."""
        return self.evaluation.as_dict() | {
            "name": self.name,
            "keypoint_oks": dict(self.matches.keypoint_oks),
            "crowding": dict(self.crowding),
            "score_threshold": self.threshold,
            "errors": {
                "gains": dict(self.errors.gains),
                "shares": dict(self.errors.shares),
                "keypoints": {name: dict(counts) for name, counts in self.errors.keypoints.items()},
            },
        }


def gather(name: str, evaluation: Evaluation, checkpoint: Checkpoint, *, pictures: int) -> RunReport:
    """Take an evaluation apart.

    Args:
        name: what the page calls the model.
        evaluation: its people and figures.
        checkpoint: the model, for its heatmaps and tags.
        pictures: how many images of each kind are shown: worst, best, maps.
    """
    matches = evaluation.matches()
    found = evaluation.predictions
    threshold = best_threshold(matches)
    return RunReport(
        name=name,
        evaluation=evaluation,
        matches=matches,
        errors=split_errors(evaluation.truth, found.detections, found.image_ids),
        crowding=by_crowding(matches),
        threshold=threshold,
        pictures=choose_and_draw(evaluation, checkpoint, threshold, count=pictures),
    )


def build(runs: Sequence[RunReport]) -> dict[str, bytes]:
    """The report's files by name: `report.html` (which needs no other), `report.json`, figures and pictures.

    Args:
        runs: one model, or two to compare, scored on the same images.

    Raises:
        ValueError: not one or two, or two that were not scored on the same images.
    """
    if len(runs) not in (1, 2):
        raise ValueError(f"a report shows one model or compares two, not {len(runs)}")
    data = {json.dumps(run.evaluation.data, sort_keys=True) for run in runs}
    if len(data) > 1:
        raise ValueError("the two models were not scored on the same images; evaluate both on one split")
    figures = draw(runs)
    pictures = {
        f"pictures/{number}-{picture.kind}-{picture.image_id:012d}.jpg": picture.jpeg
        for number, run in enumerate(runs, start=1)
        for picture in run.pictures
    }
    return {
        "report.html": render(runs, figures).encode(),
        "report.json": json.dumps([run.as_dict() for run in runs], indent=1).encode(),
        **{f"figures/{figure.name}.png": figure.png for figure in figures},
        **pictures,
    }


def remove_stale(url: str, content: Collection[str]) -> None:
    """Remove what an earlier report left in a folder and this one does not have; files of others stay.

    Args:
        url: the report's folder.
        content: names of the files of the report that lies there now.
    """
    for name in store.listing(url):
        if OWN.fullmatch(name) and name not in content:
            store.delete(store.join(url, name))
