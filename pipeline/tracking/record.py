"""Results that are added to a run in MLflow after the run itself, such as an evaluation's figures and files."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from mlflow.entities import Metric

from pipeline.tracking import client
from pipeline.tracking.client import MlflowClient, mlflow_errors
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.mlflow_run import TrackedRun, connect, create_ended_run, find_run, known_run


class RunRecord:
    """A tracked run: metrics and files are added to it, its status is left alone.

    Args:
        mlflow: from `pipeline.tracking.mlflow_run.connect`.
        run: the run, or what creates it, which is called when the first thing is written.
    """

    def __init__(self, mlflow: MlflowClient, run: TrackedRun | Callable[[], TrackedRun]) -> None:
        self.mlflow, self._run = mlflow, run

    @classmethod
    def of_checkpoint(cls, tracking: TrackingConfig, config: Mapping[str, Any], *, run_id: str = "") -> Self:
        """The run that a checkpoint is of. One that is not there is created when the first thing is written.

        Args:
            tracking: where the server is.
            config: the config that the checkpoint was trained with; its storage and name say which run it is.
            run_id: the run, where it is known.

        Raises:
            ConnectionError: the server does not answer.
            ValueError: the config lacks its name or storage, or no server is set.
        """
        lacking = [key for key in ("name", "storage") if key not in config]
        if lacking:
            raise ValueError(
                f"the checkpoint's config has no {' and no '.join(lacking)}, which say whose run it is in MLflow: give "
                "a checkpoint of a training, or set tracking.enabled=false"
            )
        mlflow, experiment, name = connect(tracking), tracking.experiment, str(config["name"])
        if run_id:
            return cls(mlflow, known_run(mlflow, run_id))
        identity = f"{str(config['storage']).rstrip('/')}/{name}"
        create = partial(create_ended_run, mlflow, experiment=experiment, name=name, identity=identity)
        return cls(mlflow, find_run(mlflow, experiment, identity) or create)

    @property
    def run(self) -> TrackedRun:
        """The run. Creates it where there is none."""
        if callable(self._run):
            self._run = self._run()
        return self._run

    @property
    def run_id(self) -> str:
        """The run's id. Creates the run where there is none."""
        return self.run.run_id

    @property
    def page(self) -> str:
        """URL of the run's page in MLflow's web interface. Creates the run where there is none."""
        return self.run.page

    def tags(self) -> dict[str, str]:
        """The run's tags; none where there is no run."""
        if callable(self._run):
            return {}
        with mlflow_errors(f"look up run {self.run_id}"):
            return dict(self.mlflow.get_run(self.run_id).data.tags)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log figures at a training step."""
        now = time.time_ns() // 1_000_000
        entries = [Metric(name, float(value), now, step) for name, value in values.items()]
        with mlflow_errors(f"log metrics of run {self.run_id}"):
            client.log_metrics(self.mlflow, self.run_id, entries)

    def artifacts(self, folder: str, content: Mapping[str, bytes], *, replace: bool = False) -> None:
        """Log files below a folder of the run's artifacts.

        Args:
            folder: the folder.
            content: files by name.
            replace: delete other files that lie directly in the folder, such as those of an earlier answer.
        """
        client.log_files(self.mlflow, self.run_id, folder, content)
        if replace:
            client.delete_artifacts(self.mlflow, self.run_id, folder, keep=content)

    def upload(self, folder: str, place: Path) -> None:
        """Log a local folder as a folder of the run's artifacts."""
        client.log_folder(self.mlflow, self.run_id, folder, place)
