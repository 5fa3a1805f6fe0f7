"""The content of a report on one model: its figures, its errors and what they cost, its worst and best images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lhrnet.metrics.errors import ErrorSplit, split_errors
from lhrnet.metrics.matching import Matches, by_crowding
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.report.worst_best import ReportPicture, choose_and_draw


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What the report says about one model."""

    name: str
    evaluation: Evaluation
    matches: Matches
    errors: ErrorSplit
    crowding: Mapping[str, float]
    threshold: float
    """Score threshold at which the people found agree best with the ground truth; those above it are drawn."""
    pictures: tuple[ReportPicture, ...]

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
    """Analyse an evaluation for a report.

    Args:
        name: the model's name on the page.
        evaluation: its detections and figures.
        checkpoint: the model, for its heatmaps and tags.
        pictures: how many images of each kind are drawn: worst, best, maps.
    """
    matches = evaluation.matches
    found = evaluation.predictions
    threshold = evaluation.score_threshold or 0.0
    return RunReport(
        name=name,
        evaluation=evaluation,
        matches=matches,
        errors=split_errors(evaluation.truth, found.detections, found.image_ids),
        crowding=by_crowding(matches),
        threshold=threshold,
        pictures=choose_and_draw(evaluation, checkpoint, threshold, count=pictures),
    )
