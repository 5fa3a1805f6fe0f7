"""A worker's run from its newest checkpoint to the end: steps, validations, checkpoints, and word of all of it.

Works the same inside Ray Train (`pipeline.runs.launch`) and alone in a process. What a run does at a step depends on
the config and the data only, so a run that was broken off and one that was not end in the same weights.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lhrnet.network import create_model
from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.saver import Saver
from pipeline.cluster.world import Vote, World
from pipeline.config.tree import Config
from pipeline.data.order import Cursor
from pipeline.data.prefetch import feed
from pipeline.data.stream import TrainStream
from pipeline.evaluation.pictures import fixed_samples, jpeg, picture_grid
from pipeline.evaluation.validate import validate
from pipeline.runs import state
from pipeline.runs.initial_weights import start_from
from pipeline.tracking.gauges import Gauges
from pipeline.tracking.monitor import Clock, Monitor
from pipeline.tracking.progress import Progress
from pipeline.tracking.tracker import NullTracker
from pipeline.training.optimiser import learning_rate
from pipeline.training.precision import cpu_computes_bf16
from pipeline.training.step_plan import StepPlan, plan_steps
from pipeline.training.stepper import Stepper, timed

log = logging.getLogger(__name__)

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to. The same on every worker but for what only the first knows."""

    steps: int
    """Steps behind the weights, earlier attempts included."""
    images: int
    """Images behind them."""
    resumed_from: int
    """Step that this attempt began at."""
    images_per_second: float
    """Of this attempt, over all workers; validation not counted."""
    training_seconds: float
    """Of this attempt; validation not counted."""
    skipped_steps: int
    """Steps left out because their gradient was not finite."""
    metrics: Mapping[str, float]
    """Of the last validation."""
    checkpoint: str
    """URL of the best checkpoint."""
    finished: bool
    """False where the run was asked to leave before its end."""


class Trainer:
    """One worker's attempt at a run: from its newest checkpoint, if it has one, to its end.

    Args:
        config: the whole tree.
        world: this worker's place; None: alone, on the CPU.
        tracker: the first worker's; None: nothing is tracked.
        report: called on every worker after every validation, with its figures.

    Raises:
        ValueError, OSError: the data, the checkpoint or the settings are unusable.
    """

    world: World
    """This worker's place among all."""
    stream: TrainStream
    """Batches, in an order that is a function of seed, epoch and step."""
    plan: StepPlan
    """How many steps, and at which of them to validate and to save."""
    stepper: Stepper
    """Network, optimiser and moving average: one step at a time."""
    evaluated: nn.Module
    """A copy of the network that validations load the averaged weights into."""
    saver: Saver | None
    """Writes checkpoints beside the training; the first worker's."""
    tracker: NullTracker
    """Takes rows, figures and pictures for MLflow."""
    monitor: Monitor
    """Progress line, rows, warnings and gauges."""

    done: int
    """Steps behind the weights."""
    cursor: Cursor
    """Where the data goes on."""
    metrics: dict[str, float]
    """Of the last validation."""

    def __init__(
        self,
        config: Config,
        *,
        world: World | None = None,
        tracker: NullTracker | None = None,
        report: Report = lambda metrics: None,
    ) -> None:
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.config, self.report = config, report
        self.world = world = world or World()
        self.tracker = tracker or NullTracker()
        self.stream = TrainStream(
            config.data.train,
            stream=config.stream,
            augment=config.augment,
            skeleton=config.model.keypoints,
            size=config.model.side,
            global_batch=config.train.global_batch,
            rank=world.rank,
            world=world.size,
            seed=config.seed,
        )
        if world.first and world.device.type == "cpu" and config.train.precision == "bf16" and not cpu_computes_bf16():
            log.warning("this processor has no bf16: train.precision=fp32 computes several times as fast here")
        steps_per_epoch = self.stream.images / config.train.global_batch
        self.plan = plan_steps(config.train, steps_per_epoch=steps_per_epoch, world=world.size)
        state.seed_all(config.seed)
        network = create_model(config.model).to(world.device)
        if not checkpoint.folders(config.run_url):
            start_from(network, config.train)
        self.evaluated = copy.deepcopy(network).eval()
        self.stepper = Stepper(
            network, train=config.train, optim=config.optim, loss=config.loss, plan=self.plan, world=world
        )
        self.saver = Saver(config.run_url, keep_best=config.train.keep_best) if world.first else None
        pictures = config.train.pictures if self.tracker.live else 0
        self.samples = fixed_samples(config.data.val, pictures) if pictures else []
        self.done, self.cursor, self.metrics = 0, Cursor(), {}

    def run(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Resume, train to the end or until it is time to leave, and say what came of it.

        Args:
            stop: asked at every step; once it says so on any worker, all save at the next step and leave.

        Raises:
            RuntimeError: too many steps in a row were not finite.
        """
        try:
            self.resume()
            begun = self.done
            with self._monitored() as self.monitor:
                leaving = self.done < self.plan.total and self.steps(stop)
            if self.saver:
                self.saver.close()  # the best checkpoint is known once all are written
            return self._outcome(begun, finished=not leaving)
        finally:
            if self.saver:
                self.saver.close()

    def resume(self) -> None:
        """Take up the newest checkpoint, which the first worker finds, where there is one."""
        saved = state.newest(self.config.run_url) if self.world.first else None
        url = self.world.from_first(saved.url if saved else "")
        if url:
            saved = saved or checkpoint.load(url, training=True)
            self.cursor = state.restore(saved, self.stepper, self.config)
            self.done, self.metrics = saved.step, dict(saved.training.get("validated", saved.metrics))

    def _monitored(self) -> Monitor:
        global_batch, first = self.config.train.global_batch, self.world.first
        total, done = self.plan.total * global_batch, self.done * global_batch
        return Monitor(
            self.tracker,
            Progress(total, f"train {self.config.name}", "images", done=done) if first else None,
            global_batch=global_batch,
            device=self.world.device,
            gauges=Gauges(self.config.name) if first else None,
            ap=self.metrics.get("val/ap", float("nan")),
        )

    def steps(self, stop: Callable[[], bool]) -> bool:
        """Go on to the end; whether the run leaves before it."""
        vote, clock = Vote(self.world), Clock()
        batches = timed(feed(self.stream.batches(self.cursor), self.world.device), self.stepper.stopwatch)
        for batch in batches:
            self.stepper.step(batch, self.done)
            self.done, self.cursor = self.done + 1, batch.cursor
            self.monitor.stepped(clock.lap())
            ended = self.done == self.plan.total
            leaving = vote.cast(stop()) and not ended
            if ended or self.done % self.config.train.log_every == 0:
                rows = self.stepper.take_rows() | self.stepper.stopwatch.take()
                if self.stream.skipped:
                    rows["empty_places_first_worker"] = float(self.stream.skipped)
                lr = learning_rate(self.done - 1, self.plan.total, self.config.optim)
                self.monitor.row(rows, step=self.done, lr=lr)
            validated = self.done in self.plan.validate_at and not leaving
            if validated:
                self._validate()
            if leaving or self.done in self.plan.checkpoint_at:
                self._save(self.metrics if validated else {})
            if ended or leaving:
                return leaving
            clock.lap()
        raise AssertionError("the stream has no end")

    def _validate(self) -> None:
        average = self.stepper.average
        self.evaluated.load_state_dict(average.weights() if average else self.stepper.network.state_dict())
        _from_first_worker(self.evaluated, self.world)
        found = validate(
            self.evaluated,
            self.config.data.val,
            size=self.config.evaluate.size or self.config.model.side,
            protocol=self.config.evaluate.protocol,
            limit=self.config.train.validate_images,
            world=self.world,
        )
        figures = {f"val/{name}": value for name, value in found.scores.as_dict().items()} if found else None
        if found and figures is not None and found.threshold is not None:
            figures[checkpoint.THRESHOLD] = found.threshold
        self.metrics = self.world.from_first(figures)
        self.monitor.validated(self.metrics, step=self.done)
        if self.samples:
            grid = picture_grid(
                self.evaluated,
                self.samples,
                size=self.config.model.side,
                min_score=checkpoint.threshold_of(self.metrics),
                device=self.world.device,
            )
            self.tracker.artifact(f"pictures/step-{self.done:08d}.jpg", jpeg(grid))
        self.report({**self.metrics, "step": self.done, "of": self.plan.total, "ap": checkpoint.ap_of(self.metrics)})

    def _save(self, metrics: Mapping[str, float]) -> None:
        if self.saver:
            self.saver.submit(
                state.capture(
                    self.stepper,
                    step=self.done,
                    cursor=self.cursor,
                    config=self.config,
                    metrics=metrics,
                    validated=self.metrics,
                )
            )

    def _outcome(self, begun: int, *, finished: bool) -> Outcome:
        entries = checkpoint.listing(self.config.run_url) if self.world.first else []
        best = checkpoint.best(entries) if entries else None
        global_batch = self.config.train.global_batch
        return Outcome(
            steps=self.done,
            images=self.done * global_batch,
            resumed_from=begun,
            images_per_second=self.monitor.steps * global_batch / max(1e-9, self.monitor.training_seconds),
            training_seconds=self.monitor.training_seconds,
            skipped_steps=self.stepper.skipped,
            metrics=self.metrics,
            checkpoint=best.url if best else "",
            finished=finished,
        )


def _from_first_worker(network: nn.Module, world: World) -> None:
    """Make a network the same everywhere: batch-norm statistics are each worker's own."""
    if world.size > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0, group=world.gradients)
