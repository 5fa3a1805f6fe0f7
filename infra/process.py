"""Child processes that are started, watched and ended by their pid, never by their name."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Service:
    """One running server: enough to find it again from another process."""

    name: str
    pid: int
    started: float
    """When the process began, in seconds since the epoch: a pid alone may have been given to somebody else since."""
    log: str
    """Path of the file that takes its output."""

    @property
    def process(self) -> psutil.Process | None:
        """The live process, or None when it has ended (or its pid now belongs to another)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return tail(Path(self.log), lines)


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that this very process started and must reap."""


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a text file, or a word that it is not there."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return f"({path} was never written)"


def spawn(name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Service:
    """Start a server in a session of its own, so that Ctrl-C reaches only whoever started it.

    Raises:
        FileNotFoundError: if the program is not installed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=dict(env),
                start_new_session=True,
            )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}: no program {command[0]!r}; run `make setup`") from error
    _children[child.pid] = child
    try:
        started = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    return Service(name=name, pid=child.pid, started=started, log=str(log))


def wait_until_ready(service: Service, ready: Callable[[], bool], *, seconds: float) -> None:
    """Wait until `ready` says so.

    Raises:
        RuntimeError: if the process ends first, or the time runs out; the message ends with the log's last lines.
    """
    deadline = time.monotonic() + seconds
    while True:
        if service.process is None:
            raise RuntimeError(f"{service.name} ended while it started; {service.log} ends with:\n{service.log_tail()}")
        with contextlib.suppress(OSError):
            if ready():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{service.name} did not answer within {seconds:.0f} s; "
                f"{service.log} ends with:\n{service.log_tail() or '(nothing)'}"
            )
        time.sleep(0.2)


def end(services: Sequence[Service], *, seconds: float) -> list[str]:
    """End services and all that they started: ask, wait `seconds` together, then kill what is left.

    Returns:
        Names of the services that ran and were ended.
    """
    alive = [(service, process) for service in services if (process := service.process) is not None]
    family: list[psutil.Process] = []
    for _, process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [process, *process.children(recursive=True)]
    if seconds > 0:
        for _, process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, family = psutil.wait_procs(family, timeout=seconds)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            born_meanwhile = process.children(recursive=True)
            for each in (process, *born_meanwhile):
                each.kill()
    psutil.wait_procs(family, timeout=5)
    for service, _ in alive:
        if (child := _children.pop(service.pid, None)) is not None:
            child.wait(timeout=5)
    return [service.name for service, _ in alive]
