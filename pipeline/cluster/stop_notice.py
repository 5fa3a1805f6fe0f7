"""Being asked to leave: SIGTERM to this process, or the run's lease saying so. Looked at without waiting.

    python -m pipeline.cluster.stop_notice --patience 90    # a pod's preStop hook

A pod's own SIGTERM ends Ray, and Ray its workers, before they have saved: the workers must be told first.
"""

import argparse
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

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


def pass_on(root: int, patience: float) -> int:
    """Send SIGTERM to the training workers among the descendants of a process, and wait until they are gone.

    A worker's own children are left to it: its data loaders bear its name, and without them it could not save.

    Args:
        root: the process's id; in a pod 1.
        patience: longest wait in seconds.

    Returns:
        How many workers there were.
    """
    workers = _workers(root)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.terminate()
    psutil.wait_procs(workers, timeout=patience)
    return len(workers)


def _workers(root: int) -> list[psutil.Process]:
    parents = {}
    for process in psutil.Process(root).children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith("ray::RayTrainWorker"):
                parents[process] = process.ppid()
    named = {process.pid for process in parents}
    return [process for process, parent in parents.items() if parent not in named]


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
            except OSError as error:
                log.warning("whether to stop cannot be read: %s", error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipeline.cluster.stop_notice")
    parser.add_argument("--root", type=int, default=1, help="tell the workers below this process")
    parser.add_argument("--patience", type=float, default=90.0, help="longest wait in seconds")
    asked = parser.parse_args()
    print(f"{pass_on(asked.root, asked.patience)} workers were told to leave")
