"""Threads that send what a run reports to MLflow: rows by one, files by another, so that neither holds up the other.

What cannot be sent waits on this machine's disk and is tried again, until `close` has no more patience.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow.entities import Metric, RunTag

from pipeline.storage.address import shown
from pipeline.tracking.client import MlflowClient, MlflowException, client, log_metrics
from pipeline.tracking.mlflow_run import TrackedRun
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.spool import Spool

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 200
LONGEST_PAUSE = 15.0
"""Seconds between two attempts, at most."""


class Sender(ABC):
    """Sends in order what waits; starts at once.

    Args:
        run: whose.
        pause: seconds between two looks for something to send; after an error twice as long each time.
    """

    what: str
    """What it sends, for warnings."""

    def __init__(self, run: TrackedRun, pause: float) -> None:
        self._run, self._pause = run, pause
        self._stop = threading.Event()
        self._deadline = float("inf")
        self._warned = False
        self._thread = threading.Thread(target=self._loop, name=self.what, daemon=True)
        self._thread.start()

    @abstractmethod
    def waiting(self) -> bool:
        """Whether something is left to send."""

    @abstractmethod
    def send(self, mlflow: MlflowClient) -> bool:
        """Send the oldest of what waits; whether there may be more. May raise anything: then it is tried again."""

    def stop(self, deadline: float) -> None:
        """Have it end when nothing is left, or at the deadline (by `time.monotonic`)."""
        self._deadline = deadline
        self._stop.set()

    def join(self) -> bool:
        """Wait for its end, to the deadline at most. Whether everything was sent."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + 1)
        return not self.waiting()

    def _loop(self) -> None:
        mlflow, pause = client(self._run.uri), self._pause
        while not self._stop.is_set() or self.waiting():
            try:
                more = self.send(mlflow)
            except Exception as error:  # whatever a sender meets is no reason to harm the run
                reason = f"{type(error).__name__}: {shown(str(error))[:200]}"
                self._warn(f"MLflow at {shown(self._run.uri)} takes no {self.what} ({reason}); they wait")
                pause = min(2 * pause, LONGEST_PAUSE)
                if time.monotonic() > self._deadline:
                    break
                if self._stop.wait(pause):
                    time.sleep(min(pause, 1.0))
                continue
            pause = self._pause
            if more:
                self._warned = False
            else:
                self._stop.wait(pause)

    def _warn(self, message: str) -> None:
        """Once, until something was sent again."""
        if not self._warned:
            log.warning(message)
        self._warned = True

    @contextmanager
    def _skip_refused(self, item: str) -> Iterator[None]:
        """Give up what the server will never take, with a warning; errors that may pass are raised."""
        try:
            yield
        except MlflowException as error:
            if error.get_http_status_code() >= 500:
                raise
            self._warn(f"MLflow refuses {item}: {error}")


class RowSender(Sender):
    """Sends metrics and tags. Of a name and a step one metric is sent, whoever sent it: also an earlier process.

    Args:
        run: whose.
        own: the spool that this process writes to.
        left_behind: spools of processes that are gone, oldest first; they are sent before.
        pause: as `Sender`.
    """

    what = "rows"

    def __init__(self, run: TrackedRun, own: Spool, left_behind: list[Spool], pause: float) -> None:
        self._own, self._spools = own, [*left_behind, own]
        self._sent_steps: dict[str, set[int]] = {}
        super().__init__(run, pause)

    def waiting(self) -> bool:
        """Whether a spool is left."""
        return bool(self._spools)

    def send(self, mlflow: MlflowClient) -> bool:
        """Send the oldest rows; whether there may be more."""
        spool, stopped = self._spools[0], self._stop.is_set()
        waiting = spool.waiting(ROWS_AT_ONCE)
        for kind, group in groupby(waiting.rows, key=lambda row: next(iter(row))):
            if kind == "metrics":
                self._send_metrics(mlflow, list(group))
            elif kind == "tags":
                for row in group:
                    self._send_tags(mlflow, row["tags"])
        if waiting.held or waiting.end > spool.sent:
            spool.mark(waiting)
            return True
        if spool is self._own and not stopped:
            return False
        spool.close()
        self._spools.pop(0)
        return bool(self._spools)

    def _send_metrics(self, mlflow: MlflowClient, rows: list[dict[str, Any]]) -> None:
        fresh: dict[tuple[str, int], Metric] = {}
        for metric in (metric for row in rows for metric in self._not_sent(mlflow, row)):
            fresh.setdefault((metric.key, metric.step), metric)
        log_metrics(mlflow, self._run.run_id, fresh.values())
        for name, step in fresh:
            self._sent_steps[name].add(step)

    def _not_sent(self, mlflow: MlflowClient, row: dict[str, Any]) -> Iterator[Metric]:
        for name, value in row["metrics"].items():
            if name not in self._sent_steps:
                known = mlflow.get_metric_history(self._run.run_id, name)
                self._sent_steps[name] = {metric.step for metric in known}
            if row["step"] not in self._sent_steps[name]:
                yield Metric(name, float(value), row["time"], row["step"])

    def _send_tags(self, mlflow: MlflowClient, tags: Mapping[str, str]) -> None:
        with self._skip_refused(str(tags)):
            mlflow.log_batch(self._run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _loop(self) -> None:
        super()._loop()
        for spool in self._spools:
            spool.close()


class FileSender(Sender):
    """Sends files.

    Args:
        run: whose.
        outbox: where they wait.
        pause: as `Sender`.
    """

    what = "artifacts"

    def __init__(self, run: TrackedRun, outbox: Outbox, pause: float) -> None:
        self._outbox = outbox
        super().__init__(run, pause)

    def waiting(self) -> bool:
        """Whether a file is left."""
        return self._outbox.held() or bool(self._outbox.waiting())

    def send(self, mlflow: MlflowClient) -> bool:
        """Send the oldest file; whether there may be more."""
        oldest: list[tuple[str, Path]] = self._outbox.waiting()[:1]
        for name, file in oldest:
            self._send_file(mlflow, name, file)
            self._outbox.sent(file)
        if not oldest and self._outbox.held():
            with self._outbox.oldest_held() as (name, file):
                self._send_file(mlflow, name, file)
            return True
        return bool(oldest)

    def _send_file(self, mlflow: MlflowClient, name: str, file: Path) -> None:
        folder = str(PurePosixPath(name).parent)
        with self._skip_refused(name):
            mlflow.log_artifact(self._run.run_id, str(file), folder if folder != "." else None)
