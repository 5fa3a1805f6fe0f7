"""Promotion of a checkpoint: register it, score it and the champion on the same shards, decide, record, move the alias.

Nothing that users see changes before the last step, which sets one alias. A failure before it leaves at most a
registered version that nobody serves.
"""

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lhrnet.metrics.matching import Matches, bootstrap
from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.tree import Config
from pipeline.data.index import ShardIndex, read_index
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.gate import Decision, decide, to_markdown
from pipeline.evaluation.outputs import data_label
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.release import model_card, package
from pipeline.release.registry import AliasMove, OvertakenError, Registry, Version
from pipeline.storage.atomic import named_errors
from pipeline.tracking.client import download_artifacts
from pipeline.tracking.mlflow_run import connect
from pipeline.tracking.progress import Progress
from pipeline.tracking.provenance import revision
from pipeline.tracking.record import RunRecord

log = logging.getLogger(__name__)
CANDIDATE = "candidate"


class Evaluator(Protocol):
    """Scores a model, as `pipeline.evaluation.evaluate.evaluate`."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        url: str,
        config: EvaluateConfig,
        *,
        index: ShardIndex | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Evaluation:
        """Find the people in a split and score them."""
        ...


@dataclass(frozen=True, kw_only=True)
class PromotionResult:
    """The gate's decision on a challenger, and what followed from it."""

    decision: Decision
    version: str
    """The challenger's number; "candidate" after a dry run of a checkpoint that is not registered."""
    move: AliasMove | None
    """The champion's move; none when nothing moved."""
    page: str
    """The run in MLflow that keeps the decision; empty after a dry run."""


@dataclass(frozen=True)
class _Scored:
    evaluation: Evaluation
    matches: Matches


def promote(
    config: Config, target: str | None = None, *, dry_run: bool = False, evaluator: Evaluator = evaluate
) -> PromotionResult:
    """Make a model the champion if the gate accepts it.

    Args:
        config: where runs and shards lie, the protocol, the gate's rules.
        target: a version's number, or the URL of a checkpoint or a run; None: the best checkpoint of the config's run.
        dry_run: score and decide, but register, record and move nothing.
        evaluator: how models are scored.

    Raises:
        ValueError: no such version, it is the champion already, it is served by another protocol, or an artifact is
            not what was registered.
        FileNotFoundError: there is no such checkpoint, or there are no shards.
        ConnectionError: MLflow or the store does not answer; nothing was moved.
        RuntimeError: somebody else promoted meanwhile; nothing was moved.
    """
    index = read_index(config.data.val)
    version, challenger, record, registry = _challenger(config, target)
    champion = registry.holder("champion")
    if version and champion and version.number == champion.number:
        if not dry_run:
            registry.settle()
        raise ValueError(f"version {version.number} of {registry.model} is the champion already")
    served = _champion(registry, champion) if champion else None
    new = _score(evaluator, config, challenger, index, "the challenger")
    if version is None and not dry_run:
        version = _register(config, challenger, new, record, registry)
    if version and not dry_run:
        registry.challenge(version.number)
    old = _score(evaluator, config, served, index, "the champion") if served else None
    decision = _decide(config, version.number if version else CANDIDATE, new, champion, old)
    if dry_run or version is None:
        return PromotionResult(decision=decision, version=version.number if version else CANDIDATE, move=None, page="")
    _store(decision, version, new, record, registry)
    move = None
    if decision.accepted:
        try:
            move = registry.promote(
                version.number, expected=champion.number if champion else None, reason=decision.reason
            )
        except (RuntimeError, ConnectionError) as error:
            _correct(registry, version.number, "overtaken" if isinstance(error, OvertakenError) else "not moved")
            raise
    return PromotionResult(decision=decision, version=version.number, move=move, page=record.page)


def _correct(registry: Registry, number: str, word: str) -> None:
    """Correct the decision of an accepted version that did not become champion after all."""
    try:
        champion = registry.holder("champion")
        if champion is None or champion.number != number:
            registry.tag(number, {"decision": word})
        else:
            registry.settle()
    except (ConnectionError, RuntimeError) as error:
        log.warning(
            "version %s of %s keeps its decision `accepted` (%s); `lhrnet models` shows whether it is the champion",
            *(number, registry.model, error),
        )


def rollback(config: Config, reason: str) -> AliasMove:
    """Make the champion's predecessor the champion again, once its artifact is verified.

    Raises:
        ValueError: there is no champion, it has no predecessor, or that one's artifact is not what was registered.
        ConnectionError: MLflow or the store does not answer; nothing was moved.
        RuntimeError: somebody else moved the champion meanwhile.
    """
    registry = Registry(connect(config.tracking), config.gate.model)
    champion, previous = registry.predecessor()
    _download(registry, previous)
    return registry.rollback(reason, expected=champion)


def _challenger(config: Config, target: str | None) -> tuple[Version | None, Checkpoint, RunRecord, Registry]:
    """The challenger, verified, and its version if it has one."""
    registry = Registry(connect(config.tracking), config.gate.model)
    if target and target.isdecimal():
        version = registry.get(target)
        model = _download(registry, version)
        asked = _serving(config, model)
        if not _served_as(version, asked):
            tags = version.tags
            raise ValueError(
                f"version {target} of {registry.model} is served by {tags.get('protocol')} at {tags.get('size')} px, "
                f"and was to be scored by {asked['protocol']} at {asked['size']} px: set evaluate.protocol and "
                f"evaluate.size to those, or promote its checkpoint {tags.get('checkpoint')} as a version of its own"
            )
        record = RunRecord.of_checkpoint(config.tracking, model.config, run_id=version.run_id)
        return version, model, record, registry
    checkpoint = checkpoints.load(target or config.run_url)
    asked = _serving(config, checkpoint)
    for version in registry.versions():
        if version.tags.get("checkpoint_sha256") == checkpoint.sha256 and _served_as(version, asked):
            try:
                model = _download(registry, version)
            except ValueError as error:
                log.warning("skipped: %s", error)
                continue
            record = RunRecord.of_checkpoint(config.tracking, model.config, run_id=version.run_id)
            return version, model, record, registry
    return None, checkpoint, RunRecord.of_checkpoint(config.tracking, checkpoint.config), registry


def _serving(config: Config, model: Checkpoint) -> dict[str, str]:
    """Protocol and input size by which a model is scored, and served once it is registered, as tags."""
    return {"protocol": config.evaluate.protocol, "size": str(config.evaluate.size or model.model.side)}


def _served_as(version: Version, asked: dict[str, str]) -> bool:
    return all(version.tags.get(key, value) == value for key, value in asked.items())


def _champion(registry: Registry, version: Version) -> Checkpoint:
    try:
        return _download(registry, version)
    except ValueError as error:
        raise ValueError(
            f"{error}. It is the champion, which nothing can be compared with now: `lhrnet rollback`, or take the "
            "alias `champion` from it in MLflow"
        ) from error


def _download(registry: Registry, version: Version) -> Checkpoint:
    """A version's model, verified by the manifest it was registered with."""
    name = f"version {version.number} of {registry.model}"
    folder = version.source.removeprefix(f"runs:/{version.run_id}/")
    with tempfile.TemporaryDirectory() as place, named_errors(f"{place} (TMPDIR)"):
        path = download_artifacts(registry.mlflow, version.run_id, folder, place)
        return package.read(path, sha256=version.tags.get("manifest_sha256", ""), name=name)


def _score(evaluator: Evaluator, config: Config, model: Checkpoint, index: ShardIndex, who: str) -> _Scored:
    with Progress(index.images, f"score {who} on {index.split}") as progress:
        evaluation = evaluator(model, config.data.val, config.evaluate, index=index, progress=progress.advance)
    return _Scored(evaluation, evaluation.matches)


def _register(config: Config, model: Checkpoint, new: _Scored, record: RunRecord, registry: Registry) -> Version:
    """Package, upload, register, and read back what was uploaded."""
    trained, serving = record.tags(), _serving(config, model)
    origin = {
        "git_revision": trained.get("git_revision", "unknown"),
        "data_index_sha256": trained.get("data_index_sha256", "unknown"),
        "package_revision": revision(),
    }
    card = model_card.render(model, new.evaluation, new.matches, model=registry.model, origin=origin)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        sha256 = package.write(
            folder,
            model,
            size=int(serving["size"]),
            protocol=serving["protocol"],
            min_score=new.evaluation.score_threshold,
            card=card,
        )
        where = f"model/{sha256[:12]}"
        record.upload(where, folder)
    tags = {
        "checkpoint": model.url,
        "checkpoint_sha256": model.sha256,
        "manifest_sha256": sha256,
        "config": json.dumps(dict(model.config), separators=(",", ":"))[:5000],
        "step": str(model.step),
        **origin,
        **serving,
        **figure_tags(new.evaluation),
    }
    version = registry.register(record.run_id, where, tags=tags)
    _download(registry, version)
    return version


def figure_tags(evaluation: Evaluation) -> dict[str, str]:
    """An evaluation's figures and what they were measured on, as tags of a version."""
    latency = evaluation.predictions.latency
    return {
        **{name: f"{value:.6f}" for name, value in evaluation.scores.as_dict().items()},
        "params": str(evaluation.params),
        "macs": str(evaluation.macs),
        "latency_ms": f"{latency.total_ms:.2f}",
        "device": latency.device,
        "data": json.dumps(dict(evaluation.data)),
        "val_index_sha256": str(evaluation.data["index_sha256"]),
    }


def _decide(config: Config, number: str, new: _Scored, champion: Version | None, old: _Scored | None) -> Decision:
    gate = config.gate
    difference = None
    if old is not None:
        difference = bootstrap(new.matches, old.matches, gain=gate.min_gain, resamples=gate.resamples, seed=gate.seed)
    return decide(
        gate,
        new.evaluation.measurements(number, new.matches),
        old.evaluation.measurements(champion.number, old.matches) if old and champion else None,
        difference,
        data=new.evaluation.data,
    )


def _store(decision: Decision, version: Version, new: _Scored, record: RunRecord, registry: Registry) -> None:
    """Keep the decision with the version, and the figures that it rests on."""
    content = {
        "decision.json": json.dumps(decision.as_dict(), indent=1).encode(),
        "decision.md": to_markdown(decision).encode(),
    }
    folder = f"gate/version-{version.number}/{data_label(new.evaluation.data)}"
    record.artifacts(folder, content)
    word = "accepted" if decision.accepted else "refused"
    tags = {"decision": word, "decision_reason": decision.reason, "decision_files": f"runs:/{version.run_id}/{folder}"}
    registry.tag(version.number, figure_tags(new.evaluation) | tags)
