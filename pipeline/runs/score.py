"""From a checkpoint to its figures: `evaluate`, `report` and `submit` as functions that return values.

Each takes the whole config and a checkpoint, writes its files at a storage URL and, where tracking is on, also to the
checkpoint's run in MLflow.

    config = load("run.yaml")
    print(evaluate(config, checkpoint.load(config.run_url)).evaluation.scores.ap)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lhrnet.metrics.coco_eval import Scores
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.tree import Config
from pipeline.data.index import ShardIndex, read_index
from pipeline.evaluation import evaluate as scoring
from pipeline.evaluation import outputs, submission
from pipeline.evaluation.evaluate import Evaluation, describe_data, describe_protocol
from pipeline.evaluation.predictions import predict_split
from pipeline.evaluation.report.findings import gather
from pipeline.evaluation.report.report import remove_stale, report_files
from pipeline.storage import store
from pipeline.tracking.progress import Progress
from pipeline.tracking.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What `evaluate` found, and where it wrote it."""

    evaluation: Evaluation
    out: str
    """Storage URL of figures, detections and pictures."""
    run: str | None
    """Page of the checkpoint's run in MLflow; None where tracking is off."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the detections."""
        return self.evaluation.as_dict() | {"out": self.out, "run": self.run}


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """Where `report` wrote."""

    page: str
    """Storage URL of report.html."""
    run: str | None
    """Page of the first checkpoint's run in MLflow; None where tracking is off."""


@dataclass(frozen=True, kw_only=True)
class SubmissionResult:
    """What `submit` wrote and what it was made from."""

    file: str
    """Storage URL of the zip."""
    bytes: int
    people: int
    data: dict[str, Any]
    """The shards, as in `Evaluation.data`."""
    protocol: dict[str, Any]
    checkpoint: str
    checkpoint_sha256: str
    step: int
    scores: Scores | None = None
    """Scored from the zip, of the validation split; None for test images."""
    run: str | None = None
    """Page of the checkpoint's run in MLflow; None where tracking is off."""
    version: str | None = None
    """The registered version that was made of the checkpoint, "" where there is none; None where tracking is off."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, without what there is none of."""
        tree = asdict(self) | {"scores": self.scores.as_dict() if self.scores else None}
        return {key: value for key, value in tree.items() if value is not None}


def evaluate(config: Config, checkpoint: Checkpoint, *, out: str | None = None) -> EvaluationResult:
    """Find the people in the validation split and score them as COCO does.

    Args:
        config: the split (`data.val`), protocol and workers (`evaluate`), and `tracking`.
        checkpoint: from `pipeline.checkpoints.checkpoint.load`.
        out: storage URL of the files; None: a folder in that of the checkpoint's run.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: as `pipeline.evaluation.evaluate.evaluate`.
        ConnectionError: MLflow or the store cannot be reached.
    """
    record = _record(config, checkpoint)
    index = read_index(config.data.val)
    found = _evaluated(config, checkpoint, index, f"{index.split} ({config.evaluate.protocol})")
    label = outputs.protocol_label(config.evaluate, checkpoint)
    folder = f"evaluation/{outputs.data_label(found.data)}-{label}/step-{checkpoint.step:08d}"
    out = out or store.join(outputs.run_folder(checkpoint, config.run_url), folder)
    content = outputs.evaluation_files(found)
    outputs.write_files(out, content)
    if record:
        record.metrics(outputs.metrics_by_name(found, label), checkpoint.step)
        record.artifacts(folder, content)
    return EvaluationResult(evaluation=found, out=out, run=record.page if record else None)


def report(
    config: Config, checkpoints: Sequence[Checkpoint], *, pictures: int = 4, out: str | None = None
) -> ReportResult:
    """Evaluate one checkpoint, or two to compare, and write a page about their errors.

    Args:
        config: as for `evaluate`.
        checkpoints: one or two.
        pictures: images of each kind: worst, best, maps.
        out: storage URL of the report's folder; None: a folder in that of the first checkpoint's run.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: as `pipeline.evaluation.evaluate.evaluate`.
        ConnectionError: MLflow or the store cannot be reached.
    """
    first = checkpoints[0]
    record = _record(config, first)
    index = read_index(config.data.val)
    runs = []
    for checkpoint in checkpoints:
        name = f"{_run_name(checkpoint)}, step {checkpoint.step:,}"
        runs.append(gather(name, _evaluated(config, checkpoint, index, name), checkpoint, pictures=pictures))
    content = report_files(runs)
    against = "".join(f"-against-{_run_name(other)}-step-{other.step:08d}" for other in checkpoints[1:])
    label = f"{outputs.data_label(runs[0].evaluation.data)}-{outputs.protocol_label(config.evaluate, first)}"
    folder = f"report/{label}-step-{first.step:08d}{against}"
    out = out or store.join(outputs.run_folder(first, config.run_url), folder)
    outputs.write_files(out, content)
    remove_stale(out, content)
    if record:
        record.artifacts(folder, content)
    return ReportResult(page=store.join(out, "report.html"), run=record.page if record else None)


def submit(
    config: Config,
    checkpoint: Checkpoint,
    *,
    name: str,
    split: submission.Split = "test-dev2017",
    partial: bool = False,
    out: str | None = None,
    version: str = "",
) -> SubmissionResult:
    """Find the people in a split and write them as the zip that COCO's server took, ready for one that does again.

    Args:
        config: the split (`data.test`, or `data.val` for val2017), protocol and workers (`evaluate`), and `tracking`.
        checkpoint: from `pipeline.checkpoints.checkpoint.load`.
        name: the method's name: letters, digits, '-' and '.'.
        split: test images; or val2017, whose zip is read back and scored.
        partial: also where shards lack images of the split.
        out: storage URL of the zip's folder; None: a folder in that of the checkpoint's run.
        version: the registered version made of the checkpoint, for the record.

    Raises:
        ValueError: a wrong name, no shards or those of another split, or images of it are missing; else as
            `predict_split`.
        FileNotFoundError: there are no shards.
        ConnectionError: MLflow or the store cannot be reached.
    """
    file = submission.file_name(split, name).removesuffix(".json") + ".zip"
    url = config.data.val if split == "val2017" else config.data.test
    if not url:
        raise ValueError("data.test is not set: give the shards of test-dev2017 as data.test=URL, or rehearse by --val")
    index = read_index(url)
    submission.check_split(index, split, url)
    if not partial:
        submission.check_complete_split(index, url)
    record = _record(config, checkpoint)
    with Progress(index.images, f"submit {index.split} ({config.evaluate.protocol})") as progress:
        found = predict_split(checkpoint, url, index, config.evaluate, progress=progress.advance)
    blob = submission.pack(found.detections, split=split, name=name, image_ids=frozenset(index.image_ids))
    data = describe_data(url, index)
    label = f"{outputs.data_label(data)}-{outputs.protocol_label(config.evaluate, checkpoint)}"
    folder = f"submissions/{label}-step-{checkpoint.step:08d}"
    place = store.join(out or store.join(outputs.run_folder(checkpoint, config.run_url), folder), file)
    store.write_bytes(place, blob)
    result = SubmissionResult(
        file=place,
        bytes=len(blob),
        people=len(found.detections),
        data=data,
        protocol=describe_protocol(config.evaluate, checkpoint),
        checkpoint=checkpoint.url,
        checkpoint_sha256=checkpoint.sha256,
        step=checkpoint.step,
        scores=submission.score_zip(store.read_bytes(place), url, place) if split == "val2017" else None,
    )
    if record:
        result = replace(result, run=record.page, version=version)
        about = json.dumps(result.as_dict(), indent=1).encode()
        record.artifacts(folder, {file: blob, file.removesuffix(".zip") + ".about.json": about})
    return result


def _record(config: Config, checkpoint: Checkpoint) -> RunRecord | None:
    """The checkpoint's run in MLflow; found before the work starts, so that a server that is away costs none."""
    return RunRecord.of_checkpoint(config.tracking, checkpoint.config) if config.tracking.enabled else None


def _evaluated(config: Config, checkpoint: Checkpoint, index: ShardIndex, label: str) -> Evaluation:
    with Progress(index.images, f"evaluate {label}") as progress:
        return scoring.evaluate(checkpoint, config.data.val, config.evaluate, index=index, progress=progress.advance)


def _run_name(checkpoint: Checkpoint) -> str:
    return str(checkpoint.config.get("name", "model")).replace("/", "-")
