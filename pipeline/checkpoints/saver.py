"""Checkpoints written beside the training, and which of them are kept."""

import logging
import threading
import time
from collections.abc import Sequence

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointInfo, ap_of

log = logging.getLogger(__name__)

WAITING = 3
"""Most checkpoints held in memory."""
LAST = 2
"""Newest checkpoints kept whatever their AP: the second saves a run whose newest one is damaged."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between tries while the store is away; the last again and again."""


class Saver:
    """Writes checkpoints in a thread, oldest first, and deletes those that are no longer kept.

    A store that is away is tried until it is back while training goes on. Where more than three checkpoints wait, the
    oldest of them is let go, or the second oldest where the oldest has the best AP of them.

    Args:
        run_url: the run's folder.
        keep_best: checkpoints kept for their AP.
    """

    def __init__(self, run_url: str, *, keep_best: int) -> None:
        self._run_url, self._keep_best = run_url, keep_best
        self._waiting: list[Checkpoint] = []
        self._changed = threading.Condition()
        self._until = float("inf")
        self._closed = False
        self.saved: str = ""
        """The newest checkpoint that is whole in storage; empty before the first."""
        self.failed: Exception | None = None
        """Why the last one could not be written; None when it could."""
        self._thread = threading.Thread(target=self._work, name="saver", daemon=True)
        self._thread.start()

    def submit(self, item: Checkpoint) -> None:
        """Have a checkpoint written. Its tensors must be copies that training does not change."""
        with self._changed:
            self._waiting.append(item)
            if len(self._waiting) > WAITING:
                best = max(self._waiting, key=lambda one: (ap_of(one.metrics), one.step))
                gone = self._waiting.pop(1 if best is self._waiting[0] else 0)
                log.warning("checkpoint of step %d is let go: %d newer or better ones wait", gone.step, WAITING)
            self._changed.notify_all()

    def close(self, patience: float = 300.0) -> None:
        """Wait until all are written.

        Args:
            patience: seconds after which no more is tried.

        Raises:
            OSError: the last one could not be written.
        """
        with self._changed:
            if not self._closed:
                self._closed, self._until = True, time.monotonic() + patience
            self._changed.notify_all()
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self.failed:
            raise self.failed
        if self._waiting:
            raise ConnectionError(f"checkpoints of {self._run_url} could not be written within {patience:.0f} s")

    def _work(self) -> None:
        tries = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                item = self._waiting[0]
            if self._write(item):
                tries = 0
                with self._changed:
                    self._waiting = [one for one in self._waiting if one is not item]
                continue
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            tries += 1
            with self._changed:
                if time.monotonic() + pause > self._until:
                    return
                self._changed.wait(pause)

    def _write(self, item: Checkpoint) -> bool:
        """Write and prune; False where another try may do it."""
        url = checkpoint.step_url(self._run_url, item.step)
        try:
            checkpoint.save(item, url)
        except OSError as error:
            self.failed = error
            log.warning("checkpoint of step %d is not written yet: %s", item.step, error)
            return False
        except Exception as error:
            self.failed = error
            log.exception("checkpoint of step %d cannot be written", item.step)
            return True
        self.saved, self.failed = url, None
        self._prune(url)
        return True

    def _prune(self, saved: str) -> None:
        """Remove what is no longer kept, and halves that were left before the one just saved."""
        try:
            for entry in superfluous(checkpoint.listing(self._run_url), self._keep_best):
                checkpoint.remove(entry.url)
            for url in checkpoint.folders(self._run_url, whole=False):
                if url < saved:
                    checkpoint.remove(url)
        except OSError as error:
            log.warning("superfluous checkpoints of %s are not removed yet: %s", self._run_url, error)


def superfluous(entries: Sequence[CheckpointInfo], keep_best: int) -> list[CheckpointInfo]:
    """Those neither among the last two nor among the best by AP; of equal AP the newer is better."""
    newest = sorted(entries, key=lambda entry: entry.step)[-LAST:]
    best = sorted((entry for entry in entries if entry.ap >= 0), key=lambda entry: (entry.ap, entry.step))[-keep_best:]
    kept = {entry.url for entry in (*newest, *best)}
    return [entry for entry in entries if entry.url not in kept]
