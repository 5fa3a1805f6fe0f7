"""What a run tells MLflow while it works: never raises, never waits, loses nothing and doubles nothing.

Rows go to a spool file at once and from there, by a thread, to the server, in order. While the server is away they
wait. A row that was sent before a process died and is written again by its successor, which repeats the steps since
the last checkpoint, is left out: a name's rows are sent for rising steps only.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from pipeline.spool import Spool
from pipeline.tracking import TrackedRun, client

log = logging.getLogger(__name__)

AT_ONCE = 200
LONGEST_PAUSE = 15.0


class Tracker:
    """Logs one run, from one process at a time.

    Args:
        run: made by `tracking.open_run`; None logs nowhere.
        folder: where spools lie, on this machine; the run has a folder of its own in it.
        pause: seconds between two looks for rows.
    """

    def __init__(self, run: TrackedRun | None, folder: str | Path, *, pause: float = 0.5) -> None:
        self._run, self._pause = run, pause
        self._spools: list[Spool] = []
        self._own: Spool | None = None
        self._steps: dict[str, int] = {}
        self._deadline = float("inf")
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        if run is None:
            return
        try:
            place = Path(folder) / run.run_id
            self._own = Spool.create(place)
            self._spools = [*Spool.left_behind(place, but=self._own.path), self._own]
        except OSError as error:
            self._warn(f"nothing is tracked: the spool in {folder} cannot be written ({error}); set tracking.spool")
            return
        self._thread = threading.Thread(target=self._send, name="tracker", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Whether what is logged here goes anywhere."""
        return self._own is not None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Figures at a step. A name's steps must rise."""
        self._append({"metrics": dict(values), "step": step, "time": time.time_ns() // 1_000_000})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags of the run."""
        self._append({"tags": dict(values)})

    def artifact(self, name: str, content: bytes) -> None:
        """A file of the run, by its path there. It waits beside the spool until it is sent."""
        if self._own is None:
            return
        waiting = self._own.path.parent / f"{time.time_ns()}.artifact"
        try:
            waiting.write_bytes(content)
        except OSError as error:
            self._warn(f"{name} is lost: it cannot be written beside the spool ({error})")
            return
        self._append({"artifact": name, "file": str(waiting)})

    def close(self, patience: float = 20.0) -> bool:
        """Send what waits, for at most so many seconds. False where something is left; it stays in the spool."""
        if self._thread is None:
            return self._run is None
        self._deadline = time.monotonic() + patience
        self._stop.set()
        self._wake.set()
        self._thread.join(patience + 1)
        return not self._spools

    def _append(self, row: dict[str, Any]) -> None:
        if self._own is None:
            return
        try:
            self._own.append(row)
        except (OSError, ValueError) as error:
            self._warn(f"a row of metrics is lost: the spool cannot be written ({error})")
        self._wake.set()

    def _warn(self, message: str) -> None:
        if not self._warned:
            log.warning(message)
        self._warned = True

    def _send(self) -> None:
        assert self._run is not None
        mlflow = client(self._run.uri)
        pause, more = self._pause, False
        while not (self._stop.is_set() and not self._spools):
            try:
                more = self._send_some(mlflow)
                pause = self._pause
            except Exception as error:  # whatever a tracker meets is no reason to harm the run
                self._warn(f"MLflow at {self._run.uri} is away ({type(error).__name__}); rows wait in the spool")
                more, pause = False, min(2 * pause, LONGEST_PAUSE)
                if time.monotonic() > self._deadline:
                    break
                # New rows do not shorten this wait: else each would try again at once and double the next pause.
                if not self._stop.wait(pause):
                    continue
            if not more:
                self._wake.wait(min(pause, 1.0) if self._stop.is_set() else pause)
                self._wake.clear()
        for spool in self._spools:
            spool.close()

    def _send_some(self, mlflow: Any) -> bool:
        """Send the oldest rows; whether there may be more."""
        spool = self._spools[0]
        rows, end = spool.waiting(AT_ONCE)
        for kind, group in groupby(rows, key=lambda row: next(iter(row))):
            if kind == "metrics":
                self._send_metrics(mlflow, list(group))
            else:
                for row in group:
                    self._send_row(mlflow, kind, row)
        if rows:
            self._warned = False
            spool.mark(end)
            return True
        if spool is self._own and not self._stop.is_set():
            return False
        spool.close()
        self._spools.pop(0)
        return bool(self._spools)

    def _send_metrics(self, mlflow: Any, rows: list[dict[str, Any]]) -> None:
        assert self._run is not None
        fresh = [entity for row in rows for entity in self._fresh(mlflow, row)]
        for start in range(0, len(fresh), 900):
            mlflow.log_batch(self._run.run_id, metrics=fresh[start : start + 900])
        for metric in fresh:
            self._steps[metric.key] = max(self._steps[metric.key], metric.step)

    def _fresh(self, mlflow: Any, row: dict[str, Any]) -> Iterator[Metric]:
        assert self._run is not None
        for name, value in row["metrics"].items():
            if name not in self._steps:
                known = mlflow.get_metric_history(self._run.run_id, name)
                self._steps[name] = max((metric.step for metric in known), default=-1)
            if row["step"] > self._steps[name]:
                yield Metric(name, float(value), row["time"], row["step"])

    def _send_row(self, mlflow: Any, kind: str, row: dict[str, Any]) -> None:
        assert self._run is not None
        try:
            if kind == "tags":
                mlflow.log_batch(self._run.run_id, tags=[RunTag(key, value) for key, value in row["tags"].items()])
            elif (file := Path(row["file"])).is_file():
                name = Path(row["artifact"])
                with tempfile.TemporaryDirectory() as folder:
                    named = Path(folder) / name.name
                    named.write_bytes(file.read_bytes())
                    mlflow.log_artifact(self._run.run_id, str(named), str(name.parent) if name.parent.name else None)
                file.unlink()
        except MlflowException as error:
            if error.get_http_status_code() >= 500:
                raise
            self._warn(f"MLflow refuses {row}: {error}")
