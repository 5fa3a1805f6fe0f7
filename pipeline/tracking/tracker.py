"""What a run reports to MLflow while it works: never raises, never waits, loses nothing and doubles nothing.

Rows go to a spool file at once and from there, by a thread, to the server, in order. While the server is away they
wait. A row that was sent before a process died and is written again by its successor, which repeats the steps since
the last checkpoint, is left out. Files go their own way, by another thread: a store that is slow or refuses holds up
no row.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.storage.own_folder import make_private, own_folder
from pipeline.tracking.mlflow_run import TrackedRun
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.sender import FileSender, RowSender
from pipeline.tracking.spool import Spool

log = logging.getLogger(__name__)


class NullTracker:
    """Tracks nothing: where tracking is off, and on workers that are not the first."""

    live = False
    """Whether what is logged here goes anywhere."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log figures at a step. Of a name and a step the first counts."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""

    def artifact(self, name: str, content: bytes) -> None:
        """Log a file of the run, by its path there."""

    def close(self, patience: float = 20.0) -> bool:
        """Send what waits, for at most `patience` seconds. False where something is left; it stays on this machine."""
        return True


class Tracker(NullTracker):
    """Logs one run, from one process at a time.

    Args:
        run: made by `pipeline.tracking.mlflow_run.open_run`.
        folder: where spools lie, on this machine; the run has a folder of its own in it. What it does not take, and
            everything where this is an error that says why there is none, waits in memory.
        pause: seconds between two looks for rows.
    """

    live = True

    def __init__(self, run: TrackedRun, folder: str | Path | OSError, *, pause: float = 0.5) -> None:
        if isinstance(folder, OSError):
            self._spool, self._outbox, left_behind = Spool.in_memory(folder), Outbox(None), []
        else:
            place = Path(folder) / run.run_id
            self._spool, self._outbox = Spool.create(place), Outbox(place / "artifacts")
            left_behind = Spool.left_behind(place, but=self._spool.path)
        self._warned = False
        rows = RowSender(run, self._spool, left_behind, pause)
        self._senders = (rows, FileSender(run, self._outbox, pause))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log figures at a step. Of a name and a step the first counts."""
        self._append({"metrics": dict(values), "step": step, "time": time.time_ns() // 1_000_000})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._append({"tags": dict(values)})

    def artifact(self, name: str, content: bytes) -> None:
        """Log a file of the run, by its path there. It waits beside the spool until it is sent."""
        try:
            self._outbox.put(name, content)
        except OSError as error:
            self._lost(name, error)

    def close(self, patience: float = 20.0) -> bool:
        """Send what waits, for at most `patience` seconds. False where something is left; the disk keeps it."""
        deadline = time.monotonic() + patience
        for sender in self._senders:
            sender.stop(deadline)
        ended = [sender.join() for sender in self._senders]
        return all(ended)

    def _append(self, row: dict[str, Any]) -> None:
        try:
            self._spool.append(row)
        except (OSError, ValueError) as error:
            self._lost("a row of metrics", error)

    def _lost(self, what: str, error: Exception) -> None:
        if not self._warned:
            log.warning("%s is lost: neither disk nor memory takes it (%s)", what, error)
        self._warned = True


def start_tracker(run: TrackedRun | None, folder: str | Path) -> NullTracker:
    """The tracker of a run; one that tracks nothing where there is no run.

    Args:
        run: made by `pipeline.tracking.mlflow_run.open_run`; None: nothing is tracked.
        folder: where spools lie, on this machine; empty: in a folder of this user's own.
    """
    if run is None:
        return NullTracker()
    if folder:
        return Tracker(run, folder)
    try:
        return Tracker(run, make_private(own_folder("spool")))
    except OSError as error:
        return Tracker(run, error)
