"""The runs of a search in MLflow: one for the whole, below it one for each trial, each closed whatever ended it.

A trial's run is created and closed by its own driver. One that was ended early or died could not close its own, one
that failed early may not have any: so the search closes all of them, found by their identity.
"""

import logging
from collections.abc import Mapping

from pipeline.config.search_space import CEM_KEY, R
from pipeline.config.tree import Config
from pipeline.data.index import index_bytes, read_index
from pipeline.evaluation.evaluate import scored_profile
from pipeline.search.record import TrialRecord
from pipeline.search.trial import record_config, search_url, trials_url
from pipeline.storage import store
from pipeline.tracking import mlflow_run
from pipeline.tracking.client import MlflowClient, TrackingError
from pipeline.tracking.mlflow_run import Status, TrackedRun
from pipeline.tracking.provenance import provenance
from pipeline.tracking.record import RunRecord

log = logging.getLogger(__name__)
STATUS: Mapping[str, Status] = {"finished": "FINISHED", "pruned": "KILLED", "running": "KILLED", "failed": "FAILED"}


class TrialRuns:
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

    def settle(self, record: TrialRecord, *, latency_ms: float | None = None) -> bool:
        """Close a trial's run with its results.

        Args:
            record: the trial.
            latency_ms: of its network, once it is measured.

        Returns:
            False if the server did not take them: the search continues, and logs them again at its end.
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
                counted = scored_profile(config.model, config.evaluate)
                figures |= {"params": counted.params, "macs": counted.macs, "paper_flops": counted.paper_flops}
            if record.ap >= 0:
                figures["ap"] = record.ap
            if latency_ms is not None:
                figures["latency_ms"] = latency_ms
            RunRecord(self.mlflow, run).metrics(figures, record.step)
        except TrackingError as error:
            log.warning("the end of %s is not in MLflow: %s", record.name, error)
            return False
        return mlflow_run.close_run(run, STATUS[record.state])

    def log_answer(self, files: Mapping[str, bytes], figures: Mapping[str, float]) -> None:
        """Log the answer with the search's run, in the place of what an earlier answer left there.

        Raises:
            TrackingError: the server or its store did not take it.
        """
        if self.mlflow is None or self.parent is None:
            return
        record = RunRecord(self.mlflow, self.parent)
        try:
            record.metrics(figures, 0)
            record.artifacts("answer", files, replace=True)
        except TrackingError as error:
            raise TrackingError(
                f"{error}; the answer of {self.config.name} is in storage, and the same command logs it again"
            ) from error

    def close(self, status: Status) -> None:
        """End the search's run."""
        if self.parent:
            mlflow_run.close_run(self.parent, status)
