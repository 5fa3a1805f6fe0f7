"""Run the measurements and show them as one table.

python -m benchmarks                      all of them
python -m benchmarks losses scoring       some of them
python -m benchmarks --out bench.json     also written as JSON: versions, machine, rows
python -m benchmarks gpu --out DIR        everything about a GPU in six minutes; see docs/gpu.md
python -m benchmarks soak --minutes 20    faults, kills and hostile inputs, as two tables; see docs/faults.md
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import benchmarks
from pipeline.cluster.processor import processor_name

Row = dict[str, Any]


def main() -> int:
    """Measure what was asked for; 0 if everything could be measured."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu.command import main as gpu

        return gpu(sys.argv[2:])
    if sys.argv[1:2] == ["soak"]:
        from benchmarks.soak.command import main as soak

        return soak(sys.argv[2:])
    names = modules()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in names]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(names)}")
    console, progress = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    rows, failed = gather(asked.names or names, lambda line: progress.print(line, highlight=False))
    console.print(table(rows))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
        progress.print(f"written to {asked.out}", highlight=False)
    for name, error in failed.items():
        progress.print(f"[red]{name} failed: {error}", highlight=False)
    return 1 if failed else 0


def modules() -> list[str]:
    """Names of the modules here that have a `run`, found without importing what they measure."""
    folder = Path(benchmarks.__file__).parent
    found = (module.name for module in pkgutil.iter_modules([str(folder)]))
    files = {name: folder / f"{name}.py" for name in found}
    return sorted(name for name, file in files.items() if file.is_file() and "\ndef run(" in file.read_text())


def gather(names: list[str], say: Callable[[str], None]) -> tuple[list[Row], dict[str, str]]:
    """Run one benchmark after another.

    Args:
        names: which.
        say: takes a line of progress.

    Returns:
        All rows, each with its benchmark's name, and what went wrong with those that failed.
    """
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        say(f"{number}/{len(names)} {name} ...")
        begun = time.perf_counter()
        try:
            measured = _load(name).run()
        except Exception as error:  # one benchmark that cannot run leaves the others their table
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        rows += [{"benchmark": name, **row} for row in measured]
        say(f"{number}/{len(names)} {name}: {len(measured)} rows in {time.perf_counter() - begun:.0f} s")
    return rows, failed


def table(rows: list[Row]) -> Table:
    """One table of all rows."""
    shown = Table(title=f"median times, {machine()['cpu']}, torch {torch.__version__}")
    for title in ("benchmark", "name", "median", "unit", "ratio", "notes"):
        shown.add_column(title, justify="right" if title in ("median", "ratio") else "left", overflow="fold")
    previous = None
    for row in rows:
        if previous not in (None, row["benchmark"]):
            shown.add_section()
        first = row["benchmark"] if row["benchmark"] != previous else ""
        previous = row["benchmark"]
        ratio = row.get("ratio")
        ratio = f"{ratio:.3g}x" if isinstance(ratio, (int, float)) else str(ratio or "")
        shown.add_row(
            first, str(row["name"]), f"{row['median']:.4g}", str(row["unit"]), ratio, str(row.get("notes") or "")
        )
    return shown


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


if __name__ == "__main__":
    sys.exit(main())
