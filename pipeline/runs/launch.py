"""A run from its config to its summary: on a Ray cluster by Ray Train, or in this process.

Ray Train makes the workers, connects them and replaces those that are lost. Checkpoints are the project's own
(`pipeline.checkpoints.checkpoint`), written under the run's folder and found there again by whoever continues; Ray is
told the figures of every validation, so that a search can follow them, and keeps no state that a resumed run would
need.
"""

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from pipeline.cluster.connect import connect_to_ray
from pipeline.cluster.stop_notice import Notice, on_sigterm, terminated
from pipeline.cluster.world import World
from pipeline.config.tree import Config
from pipeline.data.index import INDEX
from pipeline.runs.driver import Summary, WorkerResult, WorkerTask, opened, summary
from pipeline.runs.loop import Outcome, Report, Trainer
from pipeline.storage import store
from pipeline.storage.own_folder import make_private, own_folder
from pipeline.tracking.tracker import start_tracker
from pipeline.training.step_plan import usable_workers
from pipeline.training.stepper import HopelessError

log = logging.getLogger(__name__)

RAY_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",  # a dead worker is noticed within so long
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",  # then an elastic run goes on with those that came
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # the progress line is printed as it is
}
GROUP_TIMEOUT_SECONDS = 600
"""A collective that takes longer has lost a worker."""


def run_here(config: Config, *, parent: str = "") -> Summary:
    """Train in this process, without Ray: one worker.

    Raises:
        ValueError: more than one worker is asked for. Else as `opened` and `Trainer`.
    """
    if config.train.workers != 1:
        raise ValueError(f"train.workers is {config.train.workers}; without Ray a run has 1 worker")
    cuda = config.train.device != "cpu" and torch.cuda.is_available()
    if config.train.device == "cuda" and not cuda:
        raise ValueError("train.device is cuda and this machine has none: take auto or cpu")
    terminated.clear()
    with opened(config, parent=parent) as run:
        with on_sigterm(terminated.set):
            outcome = work(run.task(), World(device=torch.device("cuda" if cuda else "cpu")))
        return summary(run, outcome, workers=1)


def run_on_ray(config: Config, *, parent: str = "", callbacks: Sequence[Any] = ()) -> Summary:
    """Train on the Ray cluster this process belongs to, or on one of its own.

    SIGTERM makes the workers save at the next step and leave.

    Args:
        config: the whole tree.
        parent: MLflow run that this one is shown under.
        callbacks: Ray Train's, e.g. Tune's that passes on the figures of every validation; without any, none are
            reported to Ray.

    Raises:
        RuntimeError: training failed for good.
        ValueError: the devices are not there, or not those that a setting needs. Else as `opened`.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    from pipeline.runs.ray_train import EndAtOnce, NoticingTorchConfig

    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    with opened(config, parent=parent) as run:
        connect_to_ray(otherwise="unset it, or train in this process by --here", client=True, logs=True)
        gpus = use_gpus(config, ray.cluster_resources())
        if config.train.sync_batchnorm and config.train.workers > 1 and not gpus:
            raise ValueError("train.sync_batchnorm is set and workers are on CPUs, where torch has none: leave it out")
        elastic, most = config.train.min_workers, config.train.workers
        trainer = TorchTrainer(
            _ray_worker,
            train_loop_config={"task": run.task(followed=bool(callbacks))},
            scaling_config=ScalingConfig(
                num_workers=(elastic, most) if elastic and elastic < most else most,
                use_gpu=gpus,
                resources_per_worker={"CPU": config.train.cpus_per_worker, **({"GPU": 1} if gpus else {})},
            ),
            run_config=RunConfig(
                name=config.name,
                storage_path=str(make_private(own_folder("ray"))),
                failure_config=FailureConfig(max_failures=config.train.max_failures),
                callbacks=[EndAtOnce(), *callbacks],
            ),
            torch_config=NoticingTorchConfig(backend="nccl" if gpus else "gloo", timeout_s=GROUP_TIMEOUT_SECONDS),
        )
        with on_sigterm(run.lease.ask_to_stop):
            try:
                result = trainer.fit()
            except TrainingFailedError as error:
                raise RuntimeError(f"training of {config.name} failed: {_root(error)}") from error
        done: WorkerResult = result.return_value
        return summary(run, done.outcome, workers=done.workers)


def _ray_worker(loop_config: Mapping[str, WorkerTask]) -> WorkerResult | None:
    """What Ray Train calls on every worker; None from one that is more than the batch can be shared among."""
    import ray.train
    import ray.train.torch

    task = loop_config["task"]
    config = task.config
    size = usable_workers(
        ray.train.get_context().get_world_size(),
        global_batch=config.train.global_batch,
        lanes=config.stream.lanes,
        loader_workers=config.stream.loader_workers,
    )
    world = World.of_process_group(ray.train.torch.get_device(), size=size)
    if world.spare:
        return None
    needed = (*(store.join(url, INDEX) for url in (config.data.train, config.data.val)), config.run_url)
    wait_for_storage(needed, config.train.storage_patience)
    report = (lambda metrics: ray.train.report(dict(metrics))) if task.followed else (lambda metrics: None)
    return WorkerResult(outcome=work(task, world, report=report, replaced=True), workers=size)


def wait_for_storage(urls: Iterable[str], patience: float) -> None:
    """Return when all stores of these URLs answer: one that went away ended the steps, but is waited for.

    Raises:
        ConnectionError: it did not come back in so many seconds.
    """
    until = time.monotonic() + patience
    for url in urls:
        while True:
            try:
                store.exists(url)
                break
            except ConnectionError:
                if time.monotonic() > until:
                    raise
                time.sleep(2)


def work(task: WorkerTask, world: World, *, report: Report = lambda metrics: None, replaced: bool = False) -> Outcome:
    """What a worker does: train, told of notices, the first one telling the tracker.

    Args:
        task: from the driver.
        world: this worker's place.
        report: called on every worker after every validation.
        replaced: whether a worker that leaves on a notice of its own is replaced by another.

    Raises:
        RuntimeError: a worker was told to leave and is to be replaced. Else as `Trainer`.
    """
    config = task.config
    notice = Notice(config.run_url, task.lease if world.first else 0)
    try:
        with start_tracker(task.tracked if world.first else None, config.tracking.spool) as tracker:
            outcome = Trainer(config, world=world, tracker=tracker, report=report).run(notice)
    finally:
        notice.close()
    if replaced and world.first and not outcome.finished and not notice.by_lease.is_set():
        raise RuntimeError(f"a worker's node is going away; all is saved at step {outcome.steps}")
    return outcome


def use_gpus(config: Config, resources: Mapping[str, float]) -> bool:
    """Whether workers get a GPU each.

    A cluster that was joined (RAY_ADDRESS) may bring nodes once they are asked for: `cuda` waits for them.

    Raises:
        ValueError: GPUs are asked for and this machine, which is the whole cluster, has none.
    """
    there, joined = resources.get("GPU", 0) > 0, "RAY_ADDRESS" in os.environ
    if config.train.device == "cuda" and not there:
        if not joined:
            raise ValueError("train.device is cuda and the cluster has no GPU: take auto or cpu, or add GPU nodes")
        log.warning("the cluster has no GPU now: workers wait for nodes that bring them")
        return True
    if config.train.device == "auto" and not there and joined:
        log.warning("the cluster has no GPU now: training on CPUs; train.device=cuda waits for nodes with GPUs")
    return there and config.train.device != "cpu"


def _root(error: BaseException) -> str:
    """What ended a run, in a line: of several workers' errors the one that the others are likely to follow from."""
    failures = getattr(error, "worker_failures", None) or [getattr(error, "controller_failure", error)]
    first = min(failures.values() if isinstance(failures, dict) else failures, key=_follows)
    return ([line for line in str(first).splitlines() if line.strip()] or [repr(first)])[-1].strip()


def _follows(error: BaseException) -> int:
    """How likely an error is the end of another worker only: torch raises RuntimeError where a partner is lost."""
    return 0 if isinstance(error, ValueError | HopelessError) else 2 if isinstance(error, RuntimeError) else 1
