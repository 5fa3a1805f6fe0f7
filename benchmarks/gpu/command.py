"""The command: checks what is there, starts the worker and the drawing of scenes, keeps the results on disk."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from benchmarks.gpu.needs import missing
from benchmarks.gpu.results import Results

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Measure; 0 if every part was done, 1 if one failed, 2 if the machine lacks something."""
    asked = _arguments(arguments)
    if lacking := " ".join(missing()):
        print(
            f"missing here: {lacking}\n  pip install {lacking}\n"
            "docs/gpu.md says how to carry them to a machine without a network"
        )
        return 2
    import torch

    from benchmarks.gpu.parts import PARTS

    device = asked.device or ("cuda" if torch.cuda.is_available() else "")
    if not device or (device == "cuda" and not torch.cuda.is_available()):
        print("torch sees no CUDA device here; --device cpu --small tries the command out without one")
        return 2
    names: list[str] = asked.parts or [part.name for part in PARTS]
    if unknown := set(names) - {part.name for part in PARTS}:
        print(f"no part {sorted(unknown)[0]!r}; there are {', '.join(part.name for part in PARTS)}")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from benchmarks.gpu.processes import under_torchrun

        return under_torchrun(asked.out, device, small=asked.small)
    return Course(asked, device, names).go()


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json, gpu.md and gpu.log")
    parser.add_argument("--minutes", type=float, default=6.0, help="for all parts together")
    parser.add_argument("--parts", nargs="+", help="only these")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda; cpu is for trying the command out")
    parser.add_argument("--small", action="store_true", help="the least of everything")
    parser.add_argument("--data", type=Path, help="folder for drawn scenes, kept for the next time; default OUT/data")
    return parser.parse_args(arguments)


class Course:
    """One run of the command."""

    def __init__(self, asked: argparse.Namespace, device: str, names: list[str]) -> None:
        self.asked, self.device, self.names = asked, device, names
        self.until = time.monotonic() + 60 * asked.minutes
        self.data = asked.data or asked.out / "data"
        self.events = asked.out / f".events.{os.getpid()}"
        self.results = Results(asked.out, names)
        self.current, self.kill_at = "", self.until

    def go(self) -> int:
        """Start worker after worker until no part is left."""
        self.data.mkdir(parents=True, exist_ok=True)
        children: list[subprocess.Popen[bytes]] = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            with (self.asked.out / "gpu.log").open("ab") as log:
                if {"feeding", "learning", "inference"} & set(self.names):
                    children.append(self._start("scenes", ["--data", str(self.data)], log))
                left = list(self.names)
                while left and time.monotonic() < self.until:
                    children.append(self._worker(left, log))
                    self._watch(children[-1])
                    ended = self.results.ended()
                    left = [name for name in left if name not in ended]
            self.results.end("left out", "no time was left")
        finally:
            for child in children:
                _end(child)
            self.events.unlink(missing_ok=True)
        print(self.results.summary())
        return 1 if self.results.failed() else 0

    def _start(self, module: str, arguments: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        small = ["--small"] if self.asked.small else []
        command = [sys.executable, "-m", f"benchmarks.gpu.{module}", *arguments, *small]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def _worker(self, names: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        self.events.write_text("")
        self.current, self.kill_at = "", time.monotonic() + 60
        return self._start(
            "worker",
            ["--events", str(self.events), "--data", str(self.data), "--device", self.device,
             "--until", repr(self.until), "--parts", *names],
            log,
        )  # fmt: skip

    def _watch(self, worker: subprocess.Popen[bytes]) -> None:
        """Until a worker ends: take down what it tells, and end it where a part does not."""
        heard = False
        with self.events.open() as events:
            while True:
                running = worker.poll() is None
                while line := events.readline():
                    self._take(json.loads(line))
                    heard = True
                if not running:
                    if self.current:
                        self.results.end_of(self.current, "failed", f"its process ended with code {worker.returncode}")
                    elif not heard:
                        self.results.end("failed", f"the worker ended with code {worker.returncode} before it began")
                    return
                if time.monotonic() > self.kill_at:
                    _end(worker)
                    what = self.current or self.names[0]
                    self.results.end_of(what, "cut", "it did not end within its time")
                    return
                time.sleep(0.1)

    def _take(self, event: dict[str, Any]) -> None:
        kind, part = event["kind"], event["part"]
        if kind == "begin":
            self.current, self.kill_at = part, event["kill_at"]
            self.results.begin(part, event["allowed"])
            print(f"{part}: up to {event['allowed']:.0f} s", file=sys.stderr, flush=True)
        elif kind == "row":
            self.results.row(part, event["row"])
        else:
            self.current, self.kill_at = "", time.monotonic() + 30
            self.results.end_of(part, event["state"], event["note"], event["seconds"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, and those that it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(3)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
