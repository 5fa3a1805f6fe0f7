"""Changed inputs to every reader, in a process of its own: taken or refused in one line, soon, in little memory."""

import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from benchmarks.soak.inputs import Reader, readers
from benchmarks.soak.place import Place

REFUSED = (ValueError, OSError, RuntimeError)
SLOW_S = 20
"""A reader that takes longer hangs."""
MEMORY = 2 << 30
"""Bytes that the process may ever hold."""
TURN_S = 1.0
"""Time for one kind of input before the next kind's turn: some are read in a moment, some in a tenth of a second."""


class _TooSlowError(BaseException):
    """Raised by the alarm: no reader catches it."""


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def handled(reader: Reader, given: object) -> str:
    """What is wrong with how a reader takes an input; empty where nothing is."""
    try:
        with _at_most(SLOW_S):
            return reader.read(given)
    except _TooSlowError:
        return f"takes over {SLOW_S} s"
    except RecursionError as error:  # a RuntimeError, but one that names nothing
        return f"RecursionError: {error}"
    except REFUSED:
        return ""
    except (Exception, MemoryError) as error:
        trace, where = error.__traceback__, ""
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            where = f"{Path(file).name}:{trace.tb_lineno}" if "/benchmarks/" not in file else where
            trace = trace.tb_next
        return f"{type(error).__name__} at {where}: {str(error)[:150]}"


def main(folder: str, seconds: str, seed: str) -> None:
    """Read changed inputs for so many seconds; prints counts and failures as one JSON object."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    draw, until = random.Random(int(seed)), time.monotonic() + float(seconds)
    tried: Counter[str] = Counter()
    good: Counter[str] = Counter()
    failures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as work, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        all_readers = readers(Place(Path(folder)), Path(work))
        while time.monotonic() < until:
            for reader in all_readers:
                turn = time.monotonic() + TURN_S
                while time.monotonic() < turn:
                    given = reader.make(draw)
                    wrong = handled(reader, given)
                    tried[reader.name] += 1
                    good[reader.name] += not wrong
                    if wrong:
                        failures[f"{reader.name}: {wrong}"] = failures.get(f"{reader.name}: {wrong}", 0) + 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if most > MEMORY:
        failures[f"{most / 2**30:.1f} GB were held"] = 1
    print(json.dumps({"tried": tried, "handled": good, "failures": failures, "memory": most}))


if __name__ == "__main__":
    main(*sys.argv[1:])
