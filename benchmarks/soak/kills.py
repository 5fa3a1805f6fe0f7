"""Verbs killed at random moments, and given again: they end as they do undisturbed, with nothing left over."""

import contextlib
import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.soak.place import DRAWN, STEPS, Place, last_json
from pipeline.checkpoints import checkpoint
from pipeline.release.registry import Registry
from pipeline.tracking import mlflow_run
from pipeline.tracking.config import TrackingConfig

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
AGAIN_S = 240.0
"""A verb that was killed and given again has ended by then; a lease runs out in 20."""


@dataclass
class Kills:
    """Each verb: how it is given, and what it must come to."""

    draw: random.Random
    place: Place
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    survived: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each verb takes undisturbed; learned from the first time."""

    def one(self) -> None:
        """Kill one verb once, give it again, and look at what it left."""
        verb = self.draw.choice(["draw", "shard", "train", "evaluate", "promote"])
        out = self.place.folder / "killed" / f"{verb}-{self.draw.randrange(10**9)}"
        out.mkdir(parents=True)
        command, check = self._verb(verb, out)
        if verb not in self.seconds:
            began = time.monotonic()
            self.place.must(*command)
            self.seconds[verb] = time.monotonic() - began
            if wrong := check():
                self.failures.append(f"{verb}, undisturbed: {wrong}")
            return self._away(out)
        process, how = self.place.start(*command), self.draw.choice(SIGNALS)
        moment = self.draw.uniform(0.2, 1.0) * self.seconds[verb]
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            _end(process, how)
        said = f"{verb} killed by {how.name} after {moment:.1f} s"
        again = self.place.start(*command)
        try:
            _, errors = again.communicate(timeout=AGAIN_S)
            champion_already = verb == "promote" and "is the champion already" in errors
            wrong = check() if again.returncode == 0 or champion_already else f"given again: {errors[-300:]}"
        except subprocess.TimeoutExpired:
            _end(again, signal.SIGKILL)
            wrong = f"given again it took over {AGAIN_S:.0f} s"
        wrong = wrong or _left_over(out)
        self.tried[verb, how.name] += 1
        self.survived[verb, how.name] += not wrong
        if wrong:
            self.failures.append(f"{said}: {wrong}")
        return self._away(out)

    @staticmethod
    def _away(out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)

    def _verb(self, verb: str, out: Path) -> tuple[list[str], Callable[[], str]]:
        place, config = self.place, ["-c", str(self.place.config)]
        if verb == "draw":
            return ["draw", str(out / "coco"), *DRAWN], lambda: _differs(out / "coco", place.coco)
        if verb == "shard":
            command = [
                "shard",
                str(place.coco),
                str(out / "shards"),
                "--dataset",
                "drawn",
                "--workers",
                "1",
                "--no-ray",
            ]
            return command, lambda: _differs(out / "shards", place.shards)
        if verb == "train":
            command = ["train", "--here", *config, "name=killed", f"storage={out}"]
            return command, lambda: self._other_weights(out / "killed")
        if verb == "evaluate":
            command = ["evaluate", str(place.run), *config, "--out", str(out / "evaluation")]
            return command, lambda: self._other_figures(out / "evaluation")
        model = f"soak-{out.name}"
        settings = ["tracking.enabled=true", f"gate.model={model}", f"tracking.spool={out / 'spool'}"]
        return ["promote", str(place.run), *config, *settings], lambda: self._no_champion(model)

    def _other_weights(self, run: Path) -> str:
        own, whole = (checkpoint.load(checkpoint.step_url(str(url), STEPS)).weights for url in (run, self.place.run))
        unequal = [name for name in whole if not own[name].equal(whole[name])]
        return f"{len(unequal)} weights are not those of the undisturbed run" if unequal else ""

    def _other_figures(self, out: Path) -> str:
        scores = json.loads((out / "evaluation.json").read_text())["scores"]
        whole = self.place.folder / "evaluation.json"
        if not whole.exists():
            said = self.place.must("evaluate", str(self.place.run), "-c", str(self.place.config), "--json")
            whole.write_text(json.dumps(last_json(said)["scores"]))
        return "" if scores == json.loads(whole.read_text()) else f"other figures: {scores}"

    def _no_champion(self, model: str) -> str:
        registry = Registry(mlflow_run.connect(TrackingConfig()), model)
        champion = registry.holder("champion")
        return "" if champion is not None else "there is no champion"


def _end(process: "subprocess.Popen[str]", how: signal.Signals) -> None:
    """Send the signal to the verb itself; what it started and left is killed once it is gone, as a machine would."""
    children = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _differs(folder: Path, whole: Path) -> str:
    own, wanted = _tree(folder), _tree(whole)
    wrong = sorted(name for name in own.keys() | wanted.keys() if own.get(name) != wanted.get(name))
    return f"{len(wrong)} files are not those of the undisturbed one, such as {wrong[0]}" if wrong else ""


def _left_over(out: Path) -> str:
    """Halves: files and folders with hidden names, which writing aside makes and takes away."""
    halves = [path.relative_to(out).as_posix() for path in out.rglob(".*")]
    return f"left over: {', '.join(sorted(halves)[:3])}" if halves else ""


def soak(draw: random.Random, place: Place, seconds: float, say: Callable[[str], None]) -> Kills:
    """Kill verbs for so many seconds."""
    until, kills = time.monotonic() + seconds, Kills(draw, place)
    while time.monotonic() < until:
        known = len(kills.failures)
        kills.one()
        for failure in kills.failures[known:]:
            say(f"kills: {failure}")
    return kills
