"""Being asked to leave: SIGTERM to this process, or the run's lease saying so. Looked at without waiting."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.cluster import lease

log = logging.getLogger(__name__)

_terminated = threading.Event()


def catch_sigterm() -> None:
    """Take SIGTERM as a notice instead of an end. Only the main thread of a process may call this."""
    _terminated.clear()
    signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _terminated.set()


@contextmanager
def asked_to_leave() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set instead of ending the process; the second of them does end it.

    Outside a main thread nothing sets it.
    """
    event = threading.Event()

    def heard(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    try:
        before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        yield event
        return
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Notice:
    """Whether this worker was asked to leave.

    Args:
        run_url, number: the lease to look at every few seconds; number 0: none.
    """

    def __init__(self, run_url: str = "", number: int = 0, *, every: float = 5.0) -> None:
        self._run_url, self._number, self._every = run_url, number, every
        self.by_lease = threading.Event()
        """The run's driver wants it to end, or lost it to another driver."""
        self._closed = threading.Event()
        if number:
            threading.Thread(target=self._look, name="notice", daemon=True).start()

    def __call__(self) -> bool:
        """Whether to save and leave."""
        return self.by_lease.is_set() or _terminated.is_set()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(self._every):
            try:
                if lease.should_stop(self._run_url, self._number):
                    self.by_lease.set()
                    return
            except (OSError, ValueError) as error:  # one answer that is none is no reason to listen no more
                log.warning("whether to stop cannot be read: %s", error)
