"""The search in MLflow: one run for the whole, below it one for each trial, each closed whatever ended it.

A trial's run is made and closed by its own driver. One that was ended early or died could not close its own, one that
failed early may not have any: so the search looks after all of them, by their identity.
"""

import logging
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.config.search_space import CEM_KEY, R
from pipeline.config.tree import Config
from pipeline.data.index import index_bytes, read_index
from pipeline.evaluation.evaluate import count
from pipeline.runs.driver import provenance
from pipeline.search.record import Record
from pipeline.search.trial import record_config, search_url, trials_url
from pipeline.storage import store
from pipeline.tracking import mlflow_run
from pipeline.tracking.mlflow_run import TrackedRun

log = logging.getLogger(__name__)
Status = Literal["FINISHED", "FAILED", "KILLED"]
STATUS: Mapping[str, Status] = {"finished": "FINISHED", "pruned": "KILLED", "running": "KILLED", "failed": "FAILED"}


class Children:
    """The runs of a search.

    Args:
        config: the search's.

    Raises:
        ConnectionError, ValueError: as `mlflow_run.connect`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mlflow: MlflowClient | None = None
        self.parent: TrackedRun | None = None
        if config.tracking.enabled:
            self.mlflow = mlflow_run.connect(config.tracking)
            self.parent = mlflow_run.open_run(
                self.mlflow,
                experiment=config.tracking.experiment,
                name=f"{config.name} search",
                identity=search_url(config),
                params=config.flat(),
                tags=provenance(index_bytes(read_index(config.data.train))),
            )

    @property
    def parent_id(self) -> str:
        """Id of the search's run; empty where nothing is tracked."""
        return self.parent.run_id if self.parent else ""

    def settle(self, record: Record, *, latency_ms: float | None = None) -> bool:
        """Close a trial's run with what it came to.

        Args:
            record: the trial.
            latency_ms: of its network, once it is measured.

        Returns:
            False where the server could not be told: a search goes on without it, and tells it at its end.
        """
        if self.mlflow is None:
            return True
        config = record_config(self.config.tree(), record)
        try:
            run = mlflow_run.open_run(
                self.mlflow,
                experiment=self.config.tracking.experiment,
                name=record.name,
                identity=store.join(trials_url(self.config), record.name),
                params=config.flat() if config else record.setting,
                tags={
                    "search": self.config.name,
                    "r": str(record.setting[R]),
                    "cem": str(record.setting[CEM_KEY]),
                    "trial": record.state,
                    "error": record.error,  # empty too: it takes the place of an earlier attempt's
                },
                parent=self.parent_id,
            )
            figures: dict[str, float] = {}
            if config:
                counted = count(config.model, config.evaluate)
                figures |= {"params": counted.params, "macs": counted.macs, "paper_flops": counted.paper_flops}
            if record.ap >= 0:
                figures["ap"] = record.ap
            if latency_ms is not None:
                figures["latency_ms"] = latency_ms
            self._metrics(run, figures, record.step)
        except (MlflowException, OSError) as error:
            log.warning("MLflow was not told of the end of %s: %s", record.name, str(error).splitlines()[0])
            return False
        return mlflow_run.close_run(run, STATUS[record.state])

    def answer(self, files: Mapping[str, bytes], figures: Mapping[str, float]) -> None:
        """Log the answer with the search's run, in the place of what an earlier answer left there.

        Raises:
            ConnectionError: the server or its store took it not.
        """
        if self.mlflow is None or self.parent is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            try:
                self._metrics(self.parent, figures, 0)
                self.mlflow.log_artifacts(self.parent.run_id, folder, "answer")
                self._remove("answer", but=files)
            except (MlflowException, OSError) as error:
                raise ConnectionError(
                    f"MLflow took no answer of {self.config.name} ({str(error).splitlines()[0]}): it lies in storage, "
                    "and the same command logs it again"
                ) from error

    def _remove(self, folder: str, *, but: Collection[str]) -> None:
        assert self.mlflow is not None
        assert self.parent is not None
        kept = {f"{folder}/{name}" for name in but}
        stale = [file.path for file in self.mlflow.list_artifacts(self.parent.run_id, folder) if file.path not in kept]
        if stale:
            place = self.mlflow.get_run(self.parent.run_id).info.artifact_uri
            # a client has no public way to remove one file of a run
            repository = get_artifact_repository(place, tracking_uri=self.parent.uri)
            for path in stale:
                repository.delete_artifacts(path)

    def close(self, status: Status) -> None:
        """End the search's run."""
        if self.parent:
            mlflow_run.close_run(self.parent, status)

    def _metrics(self, run: TrackedRun, figures: Mapping[str, float], step: int) -> None:
        assert self.mlflow is not None
        now = time.time_ns() // 1_000_000
        rows = [Metric(name, float(value), now, step) for name, value in figures.items()]
        self.mlflow.log_batch(run.run_id, metrics=rows)
