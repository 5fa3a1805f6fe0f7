"""The command: makes the place, starts the servers, runs the three parts, prints the two tables."""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.soak.place import REPOSITORY, Place

PARTS = ("faults", "kills", "fuzz")


def main(arguments: list[str]) -> int:
    """Soak for the time asked for; 0 if all of it came out clean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="of all parts together; making the place comes before"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is tried")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them")
    asked = parser.parse_args(arguments)
    parts = asked.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    if asked.minutes <= 0:
        parser.error(f"--minutes {asked.minutes:g} must be above 0")
    progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    with tempfile.TemporaryDirectory(prefix="lhrnet-soak-") as folder:
        return _soak(Path(folder), parts, 60.0 * asked.minutes / len(parts), asked.seed, progress)


def _soak(folder: Path, parts: list[str], seconds: float, seed: int, progress: Console) -> int:
    from infra.stack import Stack

    place = Place(folder, dict(os.environ))
    progress.print(f"seed {seed}, {seconds:.0f} s a part: drawing, sharding, training and exporting in {folder}")
    place.make()
    faults, inputs, failures = _table("fault", "tried", "survived"), _table("input", "tried", "handled"), []
    if {"faults", "kills"} & set(parts):
        progress.print("starting object store and MLflow")
        stack = Stack(folder / "stack").start(["s3", "mlflow"], guarded=True)
        place.env |= stack.env
    try:
        # kills before faults: those leave the proxies' addresses in the environment
        if "kills" in parts:
            from benchmarks.soak import kills

            os.environ.update(stack.env)
            killed = kills.soak(random.Random(seed), place, seconds, progress.print)
            _rows(faults, killed.tried, killed.survived, "{0}, killed by {1} and given again")
            failures += killed.failures
        if "faults" in parts:
            from benchmarks.soak import faults as faulty

            found = faulty.soak(random.Random(seed), stack.env, str(place.run), seconds, progress.print)
            _rows(faults, found.tried, found.survived, "{0}")
            failures += found.failures
        if "fuzz" in parts:
            told = _fuzz(place, seconds, seed)
            _rows(inputs, _pairs(told["tried"]), _pairs(told["handled"]), "{0}")
            failures += [f"{failure} ({count} times)" for failure, count in told["failures"].items()]
    finally:
        if {"faults", "kills"} & set(parts):
            stack.stop(patience_s=5)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in (faults, inputs):
        if table.row_count:
            console.print(table)
    for failure in failures:
        console.print(f"failed: {failure}", soft_wrap=True, markup=False, highlight=False)
    return 1 if failures else 0


def _fuzz(place: Place, seconds: float, seed: int) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "benchmarks.soak.fuzz", str(place.folder), f"{seconds:.0f}", str(seed)]
    done = subprocess.run(command, cwd=REPOSITORY, env=place.env, capture_output=True, text=True, check=False)
    if done.returncode:
        says = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"tried": {}, "handled": {}, "failures": {f"fuzz ended with {done.returncode}: {says}": 1}}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _pairs(counts: dict[str, int]) -> Counter[tuple[str, str]]:
    return Counter({(name, ""): count for name, count in counts.items()})


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    return table


def _rows(table: Table, tried: Counter[tuple[str, str]], good: Counter[tuple[str, str]], form: str) -> None:
    """One row for each name, and one of all."""
    named: Counter[str] = Counter()
    fine: Counter[str] = Counter()
    for pair, count in tried.items():
        named[form.format(*pair)] += count
        fine[form.format(*pair)] += good[pair]
    for name in sorted(named):
        table.add_row(name, f"{named[name]:,}", f"{fine[name]:,}")
    table.add_row("all of these", f"{named.total():,}", f"{fine.total():,}", end_section=True)
