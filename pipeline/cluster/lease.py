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
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from pipeline.storage import s3, store

log = logging.getLogger(__name__)

LIFE_SECONDS = 20.0
"""A lease that was not renewed for so long may be taken over."""
State = Literal["held", "stopping", "free"]


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
        held = newest(self.run_url)
        if held and held[1]["state"] != "free":
            self._wait_for_its_end(*held)
        self.number = held[0] + 1 if held else 1
        if not create(_url(self.run_url, self.number), self._content()):
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
            for number in range(max(1, self.number - 3), self.number):
                store.delete(_url(self.run_url, number))
        except OSError as failure:
            log.warning("the lease of %s is not given back and will run out by itself: %s", self.run_url, failure)

    def ask_to_stop(self) -> None:
        """Tell the run's workers, who read the lease, to save and leave."""
        self._state = "stopping"
        threading.Thread(target=self._write_quietly, daemon=True).start()

    def _wait_for_its_end(self, number: int, before: dict[str, Any]) -> None:
        until = time.monotonic() + before["life"]
        while time.monotonic() < until:
            time.sleep(min(1.0, self.life / 10))
            now = newest(self.run_url)
            if now is None or now[1]["state"] == "free":
                return
            if (now[0], now[1]["beat"]) != (number, before["beat"]):
                raise RuntimeError(
                    f"{self.run_url} is being worked on by process {now[1]['pid']} on {now[1]['host']} since "
                    f"{now[1]['since']}: wait for its end, stop it, or take another name"
                )
        log.warning("the process that held %s is gone; its run is taken over", self.run_url)

    def _renew(self) -> None:
        while not self._done.wait(self.life / 5):
            self._write_quietly()

    def _write_quietly(self) -> None:
        try:
            held = newest(self.run_url)
            if held and held[0] > self.number:
                self.lost.set()
            else:
                self._write()
        except OSError as error:
            log.warning("the lease of %s is not renewed: %s", self.run_url, error)

    def _write(self) -> None:
        self._beat += 1
        store.write_bytes(_url(self.run_url, self.number), self._content())

    def _content(self) -> bytes:
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._since, "life": self.life}
        return json.dumps(who | {"beat": self._beat, "state": self._state}).encode()


def should_stop(run_url: str, number: int) -> bool:
    """Whether the holder of a lease asked its workers to stop, or lost it to another."""
    held = newest(run_url)
    return held is not None and (held[0] > number or held[1]["state"] == "stopping")


def newest(run_url: str) -> tuple[int, dict[str, Any]] | None:
    """The newest lease's number and content."""
    names = [name for name in store.listing(store.join(run_url, "lease")) if name.removesuffix(".json").isdigit()]
    if not names:
        return None
    number = max(int(name.removesuffix(".json")) for name in names)
    return number, json.loads(store.read_bytes(_url(run_url, number)))


def create(url: str, data: bytes) -> bool:
    """Put data where nothing lies. False where something does; of several at once, one gets True."""
    if not store.is_local(url):
        return s3.create(url, data)
    path = store.local_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    new.write_bytes(data)
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    finally:
        new.unlink()
    return True


def _url(run_url: str, number: int) -> str:
    return store.join(run_url, "lease", f"{number:08d}.json")
