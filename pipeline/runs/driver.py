"""A run seen from its driver: checked, leased and tracked before the work, summed up after it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from lhrnet.network import create_model
from lhrnet.skeleton import COCO, check_same_keypoints
from pipeline.checkpoints import checkpoint
from pipeline.cluster.lease import Lease
from pipeline.config.tree import Config
from pipeline.data.index import ShardIndex, index_bytes, read_index
from pipeline.data.order import check_divisible
from pipeline.runs import state
from pipeline.runs.initial_weights import start_from
from pipeline.runs.loop import Outcome
from pipeline.storage import store
from pipeline.tracking import mlflow_run
from pipeline.tracking.mlflow_run import TrackedRun
from pipeline.tracking.provenance import provenance
from pipeline.training.stepper import freeze


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to, for people and for the next job."""

    name: str
    finished: bool
    steps: int
    images: int
    images_per_second: float
    seconds: float
    """From the first look at storage to the end, start-up included."""
    resumed_from: int
    workers: int
    skipped_steps: int
    ap: float
    ap50: float
    checkpoint: str
    run_id: str
    mlflow: str
    storage: str


@dataclass(frozen=True, kw_only=True)
class WorkerTask:
    """What a driver sends to each of its workers."""

    config: Config
    lease: int
    """Number of the run's lease, which the first worker watches."""
    tracked: TrackedRun | None
    """The MLflow run that the first worker writes to; None: nothing is tracked."""
    followed: bool
    """Whether the figures of every validation are reported to Ray."""


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """What a worker sends back."""

    outcome: Outcome
    workers: int
    """How many worked."""


@dataclass(kw_only=True)
class Opened:
    """A run that is checked, leased and tracked."""

    config: Config
    lease: Lease
    tracked: TrackedRun | None
    begun: float
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    """What MLflow is told at the end; `summary` sets it."""

    def task(self, *, followed: bool = False) -> WorkerTask:
        """What workers are sent; `followed`: whether they report every validation to Ray."""
        return WorkerTask(config=self.config, lease=self.lease.number, tracked=self.tracked, followed=followed)


@contextmanager
def opened(config: Config, *, parent: str = "") -> Iterator[Opened]:
    """Check that data, storage and tracker are there, take the run's lease and open its MLflow run.

    Raises:
        ConnectionError: storage or MLflow does not answer; within about 20 s.
        FileNotFoundError: there are no shards at an address.
        RuntimeError: another process works on the run.
        ValueError: the settings do not fit each other or the data.
    """
    begun = time.monotonic()
    index = read_index(config.data.train)
    config = with_data_skeleton(config, index, read_index(config.data.val))
    check_divisible(
        lanes=config.stream.lanes,
        shards=len(index.shards),
        global_batch=config.train.global_batch,
        world=config.train.workers,
        loaders=config.stream.loader_workers,
    )
    check_network(config)
    mlflow = mlflow_run.connect(config.tracking) if config.tracking.enabled else None
    with Lease(config.run_url) as lease:
        keep_config(config)
        tracked = None
        if mlflow:
            tracked = mlflow_run.open_run(
                mlflow,
                experiment=config.tracking.experiment,
                name=config.name,
                identity=config.run_url,
                params=config.flat(),
                tags=provenance(index_bytes(index)),
                parent=parent,
            )
        run = Opened(config=config, lease=lease, tracked=tracked, begun=begun)
        try:
            yield run
        except KeyboardInterrupt:
            run.status = "KILLED"
            raise
        finally:
            if tracked:
                mlflow_run.close_run(tracked, run.status)


def with_data_skeleton(config: Config, train: ShardIndex, val: ShardIndex) -> Config:
    """The config with the keypoints of its data, where it does not name any.

    Raises:
        ValueError: the splits, or a split and the config, have other keypoints.
    """
    check_same_keypoints(train.skeleton, config.data.train, val.skeleton, config.data.val)
    if config.model.skeleton is None and train.skeleton != COCO:
        return config.model_copy(update={"model": replace(config.model, skeleton=train.skeleton)})
    check_same_keypoints(train.skeleton, config.data.train, config.model.keypoints, "model.skeleton")
    return config


def keep_config(config: Config) -> None:
    """Write the run's config.yaml; what another start was given before is kept beside it, numbered."""
    place, content = store.join(config.run_url, "config.yaml"), config.yaml().encode()
    before = store.read_bytes(place) if store.size(place) is not None else content
    if before != content:
        number = 1
        while not store.create(store.join(config.run_url, f"config-{number:03d}.yaml"), before):
            number += 1
    store.write_bytes(place, content)


def check_network(config: Config) -> None:
    """Build the network once before workers do, and hold the weights it would start from against it.

    Raises:
        ValueError: the settings describe no network, or the checkpoint is of another one or was trained with other
            settings, or a run's are all damaged.
        FileNotFoundError: there is nothing at train.init_from or train.backbone_from.
    """
    network = create_model(config.model)
    freeze(network, config.train.freeze)
    saved = state.newest(config.run_url)
    if saved:
        state.check_same_run(saved.config, config, saved.url)
        checkpoint.load_weights(network, saved.weights, saved.url)
    else:
        start_from(network, config.train)


def summary(run: Opened, outcome: Outcome, *, workers: int) -> Summary:
    """Gather what is worth telling, and settle how the run ended."""
    run.status = "FINISHED" if outcome.finished else "KILLED"
    return Summary(
        name=run.config.name,
        finished=outcome.finished,
        steps=outcome.steps,
        images=outcome.images,
        images_per_second=outcome.images_per_second,
        seconds=time.monotonic() - run.begun,
        resumed_from=outcome.resumed_from,
        workers=workers,
        skipped_steps=outcome.skipped_steps,
        ap=checkpoint.ap_of(outcome.metrics),
        ap50=outcome.metrics.get("val/ap50", -1.0),
        checkpoint=outcome.checkpoint,
        run_id=run.tracked.run_id if run.tracked else "",
        mlflow=run.tracked.page if run.tracked else "",
        storage=run.config.run_url,
    )
