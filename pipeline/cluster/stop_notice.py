"""Being asked to leave: SIGTERM to this process, or the run's lease saying so. Looked at without waiting."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.cluster import lease

log = logging.getLogger(__name__)

terminated = threading.Event()
"""Set by SIGTERM, which every `Notice` of this process then tells of."""


def catch_sigterm() -> None:
    """Take SIGTERM as a notice instead of an end, from now on. Only a process's main thread may call this."""
    terminated.clear()
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.set())


@contextmanager
def on_sigterm(handler: Callable[[], object], *also: signal.Signals) -> Iterator[None]:
    """Within the block, call `handler` on SIGTERM instead of ending the process.

    Outside the main thread, which alone can catch signals, nothing calls it.

    Args:
        handler: called in the main thread, between any two of its operations.
        also: other signals to call it on.
    """
    try:
        before = {number: signal.signal(number, lambda *_: handler()) for number in (signal.SIGTERM, *also)}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def asked_to_leave() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set instead of ending the process; the second of them does end it.

    Outside the main thread nothing sets it.
    """
    event = threading.Event()

    def heard() -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    with on_sigterm(heard, signal.SIGINT):
        yield event


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
        return self.by_lease.is_set() or terminated.is_set()

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
