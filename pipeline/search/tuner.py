"""A search over settings by Ray Tune, from its config to its answer.

Every trial is a run of its own below the search's folder, with a Ray Train of its own (`pipeline.runs.launch`); Tune
decides which run when, and which are ended early. The same search again continues where it stopped, by the records that
it keeps (`pipeline.search.record`).
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import yaml

from lhrnet.network.catalogue import names, settings_of
from pipeline.checkpoints.stored_config import current
from pipeline.cluster.capacity import DRIVER_CPUS, cluster_nodes, trials_at_once
from pipeline.cluster.connect import connect_to_ray
from pipeline.cluster.lease import Lease
from pipeline.cluster.stop_notice import asked_to_leave
from pipeline.config.marks import is_among, keys_marked
from pipeline.config.search_space import CEM_KEY, R, Range, Setting, corners, settings
from pipeline.config.tree import Config, parse
from pipeline.data.index import read_index
from pipeline.data.order import check_divisible
from pipeline.runs import launch
from pipeline.search.answer import Answer, summarise
from pipeline.search.record import TrialRecords
from pipeline.search.trial import METRIC, PROGRESS, TrialJob, run_trial, search_url, trial_config, trial_name
from pipeline.search.trial_runs import TrialRuns
from pipeline.storage import store
from pipeline.storage.own_folder import make_private, own_folder
from pipeline.tracking.progress import Progress
from pipeline.training.step_plan import plan_steps

TUNE_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # no tables of its own
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # figures go to the records and to MLflow
    "TUNE_WARN_THRESHOLD_S": "30",  # a trial that ends is told to MLflow, which may take seconds
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # see asked_to_leave
    "RAY_DEDUP_LOGS": "0",  # trials' progress lines look alike, and are not
}
Trial = tuple[Setting, int]
"""A setting and a seed."""


def search(config: Config) -> Answer:
    """Run a search, or continue one.

    Raises:
        ValueError: a setting is not allowed, or no trial fits the cluster.
        FileNotFoundError: there are no shards at an address.
        ConnectionError: storage or MLflow does not answer.
        RuntimeError: another process works on this search, it was asked to stop, or no trial finished.
    """
    for name, value in (launch.RAY_SETTINGS | TUNE_SETTINGS).items():
        os.environ.setdefault(name, value)
    import ray

    trials = check_search(config)
    connect_to_ray(otherwise="unset it to search on this machine alone", logs=True)
    gpus = launch.use_gpus(config, ray.cluster_resources())
    at_once = trials_at_once(
        cluster_nodes(),
        workers=config.train.workers,
        cpus=config.train.cpus_per_worker,
        gpus=float(gpus),
        wanted=config.search.max_concurrent,
        trials=trial_count(config, trials),
    )
    with Lease(search_url(config)):
        records = TrialRecords.read(search_url(config))
        check_unchanged(config, records)
        store.write_bytes(store.join(search_url(config), "config.yaml"), config.yaml().encode())
        trial_runs = TrialRuns(config)
        status: Any = "FAILED"
        with asked_to_leave() as leaving:  # whatever comes of it, its runs in MLflow are closed

            def stay() -> None:
                if leaving.is_set():
                    over = sum(record.over for record in records.in_order())
                    raise RuntimeError(
                        f"search {config.name} was told to stop with {over} of {trial_count(config, trials)} trials "
                        "over; the same command continues it"
                    )

            try:
                _run(config, trials, records, trial_runs, at_once, leaving)
                stay()
                found = summarise(config, records.in_order(), trial_runs, cuda=gpus, stay=stay)
                status = "FINISHED"
                return found
            except BaseException as error:
                status = "KILLED" if leaving.is_set() or isinstance(error, KeyboardInterrupt) else "FAILED"
                raise
            finally:
                for record in records.in_order():
                    if record.state == "running":
                        trial_runs.settle(record)
                trial_runs.close(status)


def check_unchanged(config: Config, records: TrialRecords) -> None:
    """Refuse to continue a search with settings under which its trials so far would have had other results.

    The space may change, so that a search can be widened.

    Raises:
        ValueError: a setting that figures depend on was another; names it.
    """
    place = store.join(search_url(config), "config.yaml")
    if not records.by_name or not store.exists(place):
        return
    may_differ = (R, CEM_KEY, *keys_marked("result", False))
    before = parse(current(yaml.safe_load(store.read_bytes(place)))).flat()
    for key, value in config.flat().items():
        if not is_among(key, may_differ) and key in before and before[key] != value:
            raise ValueError(
                f"search {config.name} was started with {key}={before[key]}, and now it is {value}: its figures would "
                "not compare; take another name="
            )


def check_search(config: Config) -> list[Trial]:
    """Check everything that can be checked before anything starts.

    Returns:
        The trials; none where they are proposed as the search goes.

    Raises:
        ValueError: as `search`.
        FileNotFoundError: as `search`.
    """
    if not {"r", "cem"} <= set(settings_of(config.model.name)):
        fit = ", ".join(name for name in names() if {"r", "cem"} <= set(settings_of(name)))
        raise ValueError(f"model.name is {config.model.name}, which has no r and no CEM to search over; allowed: {fit}")
    index = read_index(config.data.train)
    read_index(config.data.val)
    proposed = config.search.algorithm == "optuna"
    if proposed:
        from pipeline.search.proposals import need_optuna

        need_optuna()
    _check_ranges(config)
    listed = corners(config.search) if proposed else settings(config.search, seed=config.seed)
    for setting in listed:
        trial = trial_config(config.tree(), setting, config.seed + config.search.repeats - 1)
        check_divisible(
            lanes=trial.stream.lanes,
            shards=len(index.shards),
            global_batch=trial.train.global_batch,
            world=trial.train.workers,
            loaders=trial.stream.loader_workers,
        )
        if (trial.train.workers, trial.train.cpus_per_worker) != (config.train.workers, config.train.cpus_per_worker):
            raise ValueError("search.also has train.workers or train.cpus_per_worker; allowed: the same for all trials")
        plan = plan_steps(trial.train, steps_per_epoch=index.images / trial.train.global_batch, world=1)
        if config.search.asha and len(plan.validate_at) < 2:
            raise ValueError(
                f"search.asha is on and {trial.name} validates once in its {plan.total} steps: set "
                "train.validate_every so that it does on the way too"
            )
    repeats = range(config.search.repeats)
    return [] if proposed else [(setting, config.seed + repeat) for repeat in repeats for setting in listed]


def _check_ranges(config: Config) -> None:
    """Refuse a range over what takes some numbers only, as whole ones: both of its ends may be among them."""
    first = corners(config.search)[0]
    for key, choice in config.search.space().items():
        if isinstance(choice, Range):
            try:
                trial_config(config.tree(), {**first, key: choice.inside}, config.seed)
            except ValueError as error:
                raise ValueError(
                    f"search.also has a range from {choice.low:g} to {choice.high:g} for {key}, which does not take "
                    f"every number in it ({error}); give a list of values"
                ) from error


def trial_count(config: Config, trials: Sequence[Trial]) -> int:
    """How many trials the search has."""
    return len(trials) or config.search.samples * config.search.repeats


def _run(
    config: Config,
    trials: Sequence[Trial],
    records: TrialRecords,
    trial_runs: TrialRuns,
    at_once: int,
    leaving: threading.Event,
) -> None:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from pipeline.search.callbacks import StopWhenAsked, TuneCallbacks
    from pipeline.search.proposals import Proposals

    asha = None
    if config.search.asha:
        asha = ASHAScheduler(
            time_attr=PROGRESS,
            max_t=100,
            grace_period=max(1, round(100 * config.search.grace)),
            reduction_factor=config.search.reduction,
            stop_last_trials=False,
        )
    proposals = None
    if not trials:
        proposals = Proposals(config.search, seed=config.seed, known=records.in_order())
    elif not asha:
        # ASHA judges a trial by those before it, so it has to hear of them again; otherwise what is over is left out
        over = {record.name for record in records.in_order() if record.over}
        trials = [(s, seed) for s, seed in trials if trial_name(config.name, s, seed) not in over]
        if not trials:
            return
    space = {} if proposals else {"trial": tune.grid_search([{**setting, "seed": seed} for setting, seed in trials])}
    whole = trial_count(config, trials)
    before = sum(record.over for record in records.in_order()) if proposals or asha else 0
    with Progress(whole, f"search {config.name}, {at_once} at a time", "trials", done=before) as progress:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(run_trial, job=TrialJob(tree=config.tree(), parent=trial_runs.parent_id)),
                {"CPU": DRIVER_CPUS},
            ),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=METRIC,
                mode="max",
                scheduler=asha,
                search_alg=proposals,
                num_samples=whole if proposals else 1,
                max_concurrent_trials=at_once,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                # Tune's own state: written because Tune wants to, read by nobody
                name=f"{config.name}-search-{time.time_ns()}",
                storage_path=str(make_private(own_folder("ray"))),
                # only a trial's process that dies with its node raises anything
                failure_config=tune.FailureConfig(max_failures=config.train.max_failures),
                callbacks=[TuneCallbacks(config.name, records, trial_runs, progress, leaving.is_set)],
                stop=StopWhenAsked(leaving.is_set),
                verbose=0,
            ),
        ).fit()
