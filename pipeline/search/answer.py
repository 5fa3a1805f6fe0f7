"""The result of a search: computed from its records, with latency measured, written to storage and to MLflow."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lhrnet.network import ModelConfig
from pipeline.config.search_space import Setting
from pipeline.config.tree import Config
from pipeline.data.index import read_index
from pipeline.evaluation.evaluate import scored_profile
from pipeline.search.figure import picture
from pipeline.search.latency import NetworkLatency, network_latency
from pipeline.search.markdown import page
from pipeline.search.record import TrialRecord
from pipeline.search.table import Cost, Row, best_at, choose, gains, rows
from pipeline.search.trial import record_config, search_url, with_setting
from pipeline.search.trial_runs import TrialRuns
from pipeline.storage import store
from pipeline.tracking.progress import track

COCO_VAL_IMAGES = 5000
CHOSEN = "chosen.yaml"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a search."""

    page: str
    """Tables in Markdown."""
    summary: Mapping[str, Any]
    """The same as plain values."""
    folder: str
    """URL of its files."""
    files: tuple[str, ...]
    """Their names: `answer.md`, `answer.json`, `front.png`, and `chosen.yaml` where a setting was chosen."""
    mlflow: str
    """The search's page in MLflow; empty where nothing is tracked."""


def summarise(
    config: Config, records: Sequence[TrialRecord], trial_runs: TrialRuns, *, cuda: bool, stay: Callable[[], None]
) -> Answer:
    """Summarise a search.

    Args:
        config: the search's.
        records: its trials.
        trial_runs: their MLflow runs, which get the latency.
        cuda: whether trials ran on GPUs.
        stay: raises when the search was asked to stop; called while latency is measured, which may wait for a worker.

    Raises:
        RuntimeError: no trial finished.
        ConnectionError: storage or MLflow does not answer.
    """
    if not any(record.state == "finished" for record in records):
        why = next((f"{record.name}: {record.error}" for record in records if record.error), "none was started")
        raise RuntimeError(f"no trial of {config.name} finished; {why}")
    index = read_index(config.data.val)
    costs = _costs(config, records, cuda, stay)
    table = rows([record for record in records if record.name in costs], costs)
    chosen = choose(table, config.gate)
    found = gains(table)
    failures = [f"{record.name}: {record.error}" for record in records if record.state == "failed"]
    images = min(config.train.validate_images or index.images, index.images)
    on = f"{index.dataset} {index.split} ({images:,} images, protocol {config.evaluate.protocol})"
    folder = store.join(search_url(config), "answer")
    summary = {
        "name": config.name,
        "scored_on": on,
        "trials": {state: sum(r.state == state for r in records) for state in ("finished", "pruned", "failed")},
        "settings": [_row(row) for row in table],
        "gains": [
            {"setting": dict(gain.with_it.setting), **asdict(gain.difference), "paired": gain.paired} for gain in found
        ],
        "front_macs": [dict(row.setting) for row in best_at(table, lambda row: row.cost.macs)],
        "front_latency": [dict(row.setting) for row in best_at(table, lambda row: row.cost.latency_ms)],
        "chosen": dict(chosen.setting) if chosen else None,
        "folder": folder,
    }
    text = page(config.name, table, found, chosen, scored_on=on, failures=failures)
    files = {
        "answer.md": text.encode(),
        "answer.json": json.dumps(summary, indent=1).encode(),
        "front.png": picture(
            table, title=f"{config.name}: AP on {on}", on_coco=is_of_val2017(index.dataset, index.split, images)
        ),
    }
    if chosen:
        files[CHOSEN] = chosen_yaml(config, chosen.setting).encode()
    else:  # what an answer before chose, such as under other ceilings, is no part of this one
        store.delete(store.join(folder, CHOSEN))
    for name, data in files.items():
        store.write_bytes(store.join(folder, name), data)
    for record in records:
        trial_runs.settle(record, latency_ms=costs[record.name].latency_ms if record.name in costs else None)
    figures = {"trials": float(len(records))}
    if chosen and chosen.ap:
        figures |= {"ap": chosen.ap.mean, "macs": float(chosen.cost.macs), "params": float(chosen.cost.params)}
    trial_runs.log_answer(files, figures)
    mlflow = trial_runs.parent.page if trial_runs.parent else ""
    return Answer(page=text, summary=summary, folder=folder, files=tuple(files), mlflow=mlflow)


def chosen_yaml(config: Config, setting: Setting) -> str:
    """The config of a run with a setting, as a file that `lhrnet train -c` takes."""
    tree = with_setting(config.tree(), setting) | {"name": f"{config.name[:56]}-chosen"}
    del tree["search"]
    whole = type(config).model_validate(tree)
    return f"# lhrnet train -c chosen.yaml\n#\n# What the search {config.name} chose.\n\n{whole.yaml()}"


def _costs(config: Config, records: Sequence[TrialRecord], cuda: bool, stay: Callable[[], None]) -> dict[str, Cost]:
    """What each trial's network takes, of those that have one. Each network is measured once, on a worker, while
    nothing else of the search runs."""
    configs = {record.name: record_config(config.tree(), record) for record in records}
    models = {name: trial for name, trial in configs.items() if trial}
    measured: dict[tuple[ModelConfig, int], NetworkLatency] = {}
    sizes = {name: (trial.model, trial.evaluate.size or trial.model.side) for name, trial in models.items()}
    counts = {name: scored_profile(trial.model, trial.evaluate) for name, trial in models.items()}
    wanted = list(dict.fromkeys(sizes.values()))
    for model, size in track(wanted, len(wanted), f"search {config.name}, latency", "networks"):
        measured[model, size] = measure_on_a_worker(config, model, size, cuda, stay)
    return {
        name: Cost.of(
            counts[name],
            native=model.side == size == model.native_side,
            latency_ms=measured[model, size].ms,
            device=measured[model, size].device,
        )
        for name, (model, size) in sizes.items()
    }


def measure_on_a_worker(
    config: Config, model: ModelConfig, size: int, cuda: bool, stay: Callable[[], None]
) -> NetworkLatency:
    """A network's latency, measured by a Ray task of its own; `stay` is called while it waits for room."""
    import ray

    task = ray.remote(num_cpus=config.train.cpus_per_worker, num_gpus=int(cuda), max_retries=3)(network_latency)
    measuring = task.remote(model, size=size, threads=config.evaluate.threads, cuda=cuda)
    stay()
    while not ray.wait([measuring], timeout=1.0)[0]:
        stay()
    found: NetworkLatency = ray.get(measuring)
    return found


def is_of_val2017(dataset: str, split: str, images: int) -> bool:
    """Whether AP is of COCO's whole val2017, as the paper's is, whatever the folder was called that it came from."""
    return "coco" in dataset.lower() and split == "val2017" and images == COCO_VAL_IMAGES


def _row(row: Row) -> dict[str, Any]:
    return {
        "setting": dict(row.setting),
        **asdict(row.cost),
        "ap": asdict(row.ap) if row.ap else None,
        "by_seed": {str(seed): ap for seed, ap in row.by_seed.items()},
        "pruned": [{"ap": ap, "step": step} for ap, step in row.pruned],
        "failed": row.failed,
        "begun": row.begun,
        "paper": asdict(row.paper) if row.paper else None,
    }
