"""What a run tells MLflow while it works: never raises, never waits, loses nothing and doubles nothing.

Rows go to a spool file at once and from there, by a thread, to the server, in order. While the server is away they
wait. A row that was sent before a process died and is written again by its successor, which repeats the steps since
the last checkpoint, is left out: of a name and a step one row is sent. Files go their own way, by another thread: what
their store is slow to take or refuses holds up no row.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from pipeline.tracking.mlflow_run import TrackedRun, client
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.spool import Spool

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
        self._outbox: Outbox | None = None
        self._steps: dict[str, set[int]] = {}
        self._deadline = float("inf")
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._warned: set[str] = set()
        if run is None:
            return
        try:
            place = Path(folder) / run.run_id
            self._own = Spool.create(place)
            self._spools = [*Spool.left_behind(place, but=self._own.path), self._own]
        except OSError as error:
            message = f"nothing is tracked: the spool in {folder} cannot be written ({error}); set tracking.spool"
            self._warn("spool", message)
            return
        self._outbox = Outbox(place / "artifacts")
        for send, left, what in (
            (self._send_rows, lambda: bool(self._spools), "rows"),
            (self._send_file, lambda: bool(self._files()), "artifacts"),
        ):
            thread = threading.Thread(target=self._keep_sending, args=(send, left, what), name=what, daemon=True)
            self._threads.append(thread)
            thread.start()

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
        """Figures at a step. Of a name and a step the first counts."""
        self._append({"metrics": dict(values), "step": step, "time": time.time_ns() // 1_000_000})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags of the run."""
        self._append({"tags": dict(values)})

    def artifact(self, name: str, content: bytes) -> None:
        """A file of the run, by its path there. It waits beside the spool until it is sent."""
        if self._outbox is None:
            return
        try:
            self._outbox.put(name, content)
        except OSError as error:
            self._warn("spool", f"{name} is lost: it cannot be written beside the spool ({error})")

    def close(self, patience: float = 20.0) -> bool:
        """Send what waits, for at most so many seconds. False where something is left; it stays in the spool."""
        if not self._threads:
            return self._run is None
        self._deadline = time.monotonic() + patience
        self._stop.set()
        for thread in self._threads:
            thread.join(max(0.0, self._deadline - time.monotonic()) + 1)
        return not self._spools and not self._files()

    def _append(self, row: dict[str, Any]) -> None:
        if self._own is None:
            return
        try:
            self._own.append(row)
        except (OSError, ValueError) as error:
            self._warn("spool", f"a row of metrics is lost: the spool cannot be written ({error})")

    def _files(self) -> list[tuple[str, Path]]:
        return self._outbox.waiting() if self._outbox else []

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            log.warning(message)
        self._warned.add(what)

    def _keep_sending(self, send: Callable[[Any], bool], left: Callable[[], bool], what: str) -> None:
        """Call `send`, which says whether there may be more, until the end and until nothing is left."""
        assert self._run is not None
        mlflow = client(self._run.uri)
        pause = self._pause
        while not self._stop.is_set() or left():
            try:
                more = send(mlflow)
                pause = self._pause
            except Exception as error:  # whatever a tracker meets is no reason to harm the run
                reason = f"{type(error).__name__}: {str(error)[:200]}"
                self._warn(what, f"MLflow at {self._run.uri} takes no {what} ({reason}); they wait in the spool")
                pause = min(2 * pause, LONGEST_PAUSE)
                if time.monotonic() > self._deadline:
                    break
                if self._stop.wait(pause):
                    time.sleep(min(pause, 1.0))
                continue
            if more:
                self._warned.discard(what)
            else:
                self._stop.wait(pause)
        if what == "rows":
            for spool in self._spools:
                spool.close()

    def _send_rows(self, mlflow: Any) -> bool:
        """Send the oldest rows; whether there may be more."""
        spool, stopped = self._spools[0], self._stop.is_set()
        rows, end = spool.waiting(AT_ONCE)
        for kind, group in groupby(rows, key=lambda row: next(iter(row))):
            if kind == "metrics":
                self._send_metrics(mlflow, list(group))
            elif kind == "tags":
                for row in group:
                    self._send_tags(mlflow, row["tags"])
        if end > spool.sent:
            spool.mark(end)
            return True
        if spool is self._own and not stopped:
            return False
        spool.close()
        self._spools.pop(0)
        return bool(self._spools)

    def _send_metrics(self, mlflow: Any, rows: list[dict[str, Any]]) -> None:
        assert self._run is not None
        fresh: dict[tuple[str, int], Metric] = {}
        for one in (one for row in rows for one in self._fresh(mlflow, row)):
            fresh.setdefault((one.key, one.step), one)
        entities = list(fresh.values())
        for start in range(0, len(entities), 900):
            mlflow.log_batch(self._run.run_id, metrics=entities[start : start + 900])
        for name, step in fresh:
            self._steps[name].add(step)

    def _fresh(self, mlflow: Any, row: dict[str, Any]) -> Iterator[Metric]:
        assert self._run is not None
        for name, value in row["metrics"].items():
            if name not in self._steps:
                known = mlflow.get_metric_history(self._run.run_id, name)
                self._steps[name] = {metric.step for metric in known}
            if row["step"] not in self._steps[name]:
                yield Metric(name, float(value), row["time"], row["step"])

    def _send_tags(self, mlflow: Any, tags: Mapping[str, str]) -> None:
        assert self._run is not None
        with self._refusals_told("rows", str(tags)):
            mlflow.log_batch(self._run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _send_file(self, mlflow: Any) -> bool:
        """Send the oldest file; whether there may be more."""
        assert self._run is not None
        assert self._outbox is not None
        for name, file in self._files()[:1]:
            folder = str(PurePosixPath(name).parent)
            with self._refusals_told("artifacts", name):
                mlflow.log_artifact(self._run.run_id, str(file), folder if folder != "." else None)
            self._outbox.sent(file)
            return True
        return False

    @contextmanager
    def _refusals_told(self, what: str, item: str) -> Iterator[None]:
        """What the server will never take is let go."""
        try:
            yield
        except MlflowException as error:
            if error.get_http_status_code() >= 500:
                raise
            self._warn(what, f"MLflow refuses {item}: {error}")
