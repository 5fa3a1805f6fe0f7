"""Checkpoints written beside the training, and which of them are kept."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from pipeline import checkpoint
from pipeline.checkpoint import Checkpoint, Entry

log = logging.getLogger(__name__)

QUEUE = 3
LAST = 2
"""Newest checkpoints kept whatever their AP: the second saves a run whose newest one is damaged."""
PAUSES = (1, 2, 4, 8, 15, 30, 60, 60, 60)
"""Seconds between tries while the store is away."""


class Saver:
    """Writes checkpoints in a thread, oldest first, and deletes those that are no longer kept.

    A store that is away is tried for minutes while training goes on. Where more than three checkpoints wait, the
    oldest of them is let go.

    Args:
        run_url: the run's folder.
        keep_best: checkpoints kept for their AP.
    """

    def __init__(self, run_url: str, *, keep_best: int) -> None:
        self._run_url, self._keep_best = run_url, keep_best
        self._waiting: deque[Checkpoint] = deque(maxlen=QUEUE)
        self._changed = threading.Condition()
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
            self._changed.notify_all()

    def close(self, patience: float = 300.0) -> None:
        """Wait until all are written.

        Raises:
            OSError: the last one could not be written.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(patience)
        if self._thread.is_alive():
            raise ConnectionError(f"checkpoints of {self._run_url} could not be written within {patience:.0f} s")
        if self.failed:
            raise self.failed

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
            self._write(item)

    def _write(self, item: Checkpoint) -> None:
        url = checkpoint.step_url(self._run_url, item.step)
        for pause in (*PAUSES, None):
            try:
                checkpoint.save(item, url)
                self.saved, self.failed = url, None
                for entry in superfluous(checkpoint.listing(self._run_url), self._keep_best):
                    checkpoint.remove(entry.url)
                return
            except OSError as error:
                self.failed = error
                log.warning("checkpoint of step %d is not written yet: %s", item.step, error)
                if pause is None or self._waiting:
                    return
                time.sleep(pause)
            except Exception as error:
                self.failed = error
                log.exception("checkpoint of step %d cannot be written", item.step)
                return


def superfluous(entries: Sequence[Entry], keep_best: int) -> list[Entry]:
    """Those neither among the last two nor among the best by AP; of equal AP the newer is better."""
    newest = sorted(entries, key=lambda entry: entry.step)[-LAST:]
    best = sorted((entry for entry in entries if entry.ap >= 0), key=lambda entry: (entry.ap, entry.step))[-keep_best:]
    kept = {entry.url for entry in (*newest, *best)}
    return [entry for entry in entries if entry.url not in kept]
