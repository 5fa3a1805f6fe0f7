"""The process that uses the device: does one part after the other and writes down what each finds as it finds it.

It writes lines of JSON to a file that `command` reads; where it hangs or dies, `command` starts another one behind the
part that did it.
"""

import argparse
import gc
import importlib
import json
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.limit import Limit
from benchmarks.gpu.parts import PARTS, Setup, describe

LEAST = 5.0
"""Seconds that a part gets at least where there are as many left."""
GRACE = 12.0
"""Seconds over its share after which a part is ended from outside."""


def main() -> None:
    """Do the parts asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--until", type=float, required=True, help="by time.monotonic")
    parser.add_argument("--parts", nargs="+", required=True)
    asked = parser.parse_args()
    setup = Setup(device=torch.device(asked.device), data=asked.data, small=asked.small)
    with asked.events.open("a") as file:
        _do_all(asked, setup, file)


def _do_all(asked: Any, setup: Setup, file: Any) -> None:
    def tell(kind: str, **values: Any) -> None:
        file.write(json.dumps({"kind": kind, **values}, default=str) + "\n")
        file.flush()

    for number, part in enumerate(PARTS):
        if part.name not in asked.parts:
            continue
        begun = time.monotonic()
        ahead = [n for n, other in enumerate(PARTS) if other.name in asked.parts and n >= number]
        allowed = _allowed(ahead, asked.until - begun)
        if allowed < 1.0:
            tell("end", part=part.name, state="left out", seconds=0.0, note="no time was left")
            continue
        tell("begin", part=part.name, allowed=allowed, kill_at=begun + allowed + GRACE)
        print(f"--- {part.name}: {allowed:.0f} s", flush=True)

        def put(_part: str = part.name, **row: Any) -> None:
            print(f"{_part}: {describe(row)}", flush=True)
            tell("row", part=_part, row=row)

        state, note = "done", ""
        try:
            module = importlib.import_module(f"benchmarks.gpu.{part.name}")
            module.run(setup, Limit(begun + allowed), put)
        except Exception as error:
            traceback.print_exc()
            state, note = "failed", f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        seconds = time.monotonic() - begun
        tell("end", part=part.name, state=state, seconds=seconds, note=note)
        if not clear(setup.device):
            print("the device no longer works in this process: another one goes on", flush=True)
            return


def _allowed(ahead: list[int], left: float) -> float:
    """Its share of what is left, but no less than a few seconds where there are as many."""
    weights = [PARTS[number].weight for number in ahead]
    return max(max(0.0, left) * weights[0] / sum(weights), min(LEAST, left))


def clear(device: torch.device) -> bool:
    """Give the memory back that was held, also where it was not enough; whether the device still works here."""
    try:
        torch.compiler.reset()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return torch.ones(2, device=device).sum().item() == 2
    except Exception:
        traceback.print_exc()
        return False


if __name__ == "__main__":
    main()
