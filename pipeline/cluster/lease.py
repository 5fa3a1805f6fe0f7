"""Who may work on a run: one process at a time, by an object in storage that its holder keeps renewing.

    <storage>/<name>/lease/00000003.json    {"host": ..., "pid": ..., "since": ..., "beat": 17, "state": "held"}

Each holder makes the next number, which the store grants to one alone (a put that fails if the object exists). No
clocks are compared: a lease whose beat does not move while one watches for as long as it lives, is dead.
"""

import json
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from pipeline.storage import store

log = logging.getLogger(__name__)

LIFE_SECONDS = 20.0
"""A lease that was not renewed for so long may be taken over."""
MAX_LIFE_SECONDS = 600.0
"""No lease, whatever it says of itself, is waited for longer."""
State = Literal["held", "stopping", "free"]
_STATES: dict[str, State] = {"held": "held", "stopping": "stopping", "free": "free"}


@dataclass(frozen=True, kw_only=True)
class HeldLease:
    """A lease as it is read."""

    number: int
    host: str
    pid: int
    since: str
    """When it was taken, in its holder's time."""
    life: float
    """Seconds without a beat after which it may be taken over."""
    beat: int
    """Grows with every renewal."""
    state: State


class UnreadableLeaseError(OSError):
    """What lies where a lease should is none: half a file, or another answer than the store's."""

    def __init__(self, message: str, *, number: int) -> None:
        super().__init__(message)
        self.number = number


class Lease:
    """Held from `with` to its end, renewed by a thread.

    Args:
        run_url: the run's folder.
        life: seconds after which others may take it over if it is not renewed.

    Raises:
        RuntimeError: another process works on the run.
        ConnectionError: the store cannot be reached.
    """

    def __init__(self, run_url: str, *, life: float = LIFE_SECONDS) -> None:
        self.run_url, self.life = run_url, life
        self.number = 0
        self.lost = threading.Event()
        """Set when another process took the run over: whatever is still done here is for nothing."""
        self._state: State = "held"
        self._beat = 0
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self.number = self._free_number()
        if not store.create(_url(self.run_url, self.number), self._content()):
            raise RuntimeError(f"another process has just begun to work on {self.run_url}: take another name")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._state = "free"
        try:
            if not self.lost.is_set():
                self._write()
            for name in store.listing(store.join(self.run_url, "lease")):
                if name.removesuffix(".json").isdigit() and int(name.removesuffix(".json")) < self.number:
                    store.delete(store.join(self.run_url, "lease", name))
        except (OSError, ValueError) as failure:
            log.warning("the lease of %s is not given back and will run out by itself: %s", self.run_url, failure)

    def ask_to_stop(self) -> None:
        """Tell the run's workers, who read the lease, to save and leave."""
        self._state = "stopping"
        threading.Thread(target=self._write_quietly, daemon=True).start()

    def _free_number(self) -> int:
        """The number to take, once the lease before it is given back or has run out."""
        try:
            held = newest(self.run_url)
        except UnreadableLeaseError as error:
            return self._wait_until_readable(error)
        if held and held.state != "free":
            self._wait_for_its_end(held)
        return held.number + 1 if held else 1

    def _wait_until_readable(self, error: UnreadableLeaseError) -> int:
        """A holder writes its lease anew within its life; one that stays unreadable for so long has no holder."""
        log.warning("%s; waiting %.0f s for its holder to renew it", error, self.life)
        until = time.monotonic() + self.life
        while time.monotonic() < until:
            time.sleep(min(1.0, self.life / 10))
            try:
                held = newest(self.run_url)
            except UnreadableLeaseError:
                continue
            if held and held.state != "free":
                self._wait_for_its_end(held)
            return held.number + 1 if held else 1
        log.warning("nobody renewed it; %s is taken over", self.run_url)
        return error.number + 1

    def _wait_for_its_end(self, before: HeldLease) -> None:
        until = time.monotonic() + before.life
        while time.monotonic() < until:
            time.sleep(min(1.0, self.life / 10))
            try:
                now = newest(self.run_url)
            except UnreadableLeaseError:
                continue
            if now is None or now.state == "free":
                return
            if (now.number, now.beat) != (before.number, before.beat):
                raise RuntimeError(
                    f"{self.run_url} is being worked on by process {now.pid} on {now.host} since "
                    f"{now.since}: wait for its end, stop it, or take another name"
                )
        log.warning("the process that held %s is gone; its run is taken over", self.run_url)

    def _renew(self) -> None:
        while not self._done.wait(self.life / 5):
            self._write_quietly()

    def _write_quietly(self) -> None:
        try:
            if self._is_newest():
                self._write()
            else:
                self.lost.set()
        except (OSError, ValueError) as error:  # whatever went wrong, the next beat tries again
            log.warning("the lease of %s is not renewed: %s", self.run_url, error)

    def _is_newest(self) -> bool:
        """Whether no later lease is there; what lies under our own number need not be readable, it is written anew."""
        try:
            held = newest(self.run_url)
        except UnreadableLeaseError as error:
            return error.number <= self.number
        return held is None or held.number <= self.number

    def _write(self) -> None:
        self._beat += 1
        store.write_bytes(_url(self.run_url, self.number), self._content())

    def _content(self) -> bytes:
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._since, "life": self.life}
        return json.dumps(who | {"beat": self._beat, "state": self._state}).encode()


def should_stop(run_url: str, number: int) -> bool:
    """Whether the holder of a lease asked its workers to stop, or lost it to another."""
    held = newest(run_url)
    return held is not None and (held.number > number or held.state == "stopping")


def newest(run_url: str) -> HeldLease | None:
    """The newest lease of a run.

    Raises:
        OSError: the store cannot be reached, or what it gives is no lease, whatever it is.
    """
    names = [name for name in store.listing(store.join(run_url, "lease")) if name.removesuffix(".json").isdigit()]
    if not names:
        return None
    number = max(int(name.removesuffix(".json")) for name in names)
    url = _url(run_url, number)
    try:
        tree = json.loads(store.read_bytes(url))
        return HeldLease(
            number=number,
            host=str(tree["host"]),
            pid=int(tree["pid"]),
            since=str(tree["since"]),
            life=min(float(tree["life"]), MAX_LIFE_SECONDS),
            beat=int(tree["beat"]),
            state=_STATES[tree["state"]],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableLeaseError(f"{url} is no lease ({type(error).__name__}: {error})", number=number) from error


def _url(run_url: str, number: int) -> str:
    return store.join(run_url, "lease", f"{number:08d}.json")
