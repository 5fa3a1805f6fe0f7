"""A progress line for long work: done of total, rate, time left, and a note."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TextIO, TypeVar

Item = TypeVar("Item")

SECONDS_ON_TERMINAL = 0.2
SECONDS_IN_LOG = 5.0


class Progress:
    """Use as a context manager. On a terminal one line is written over; elsewhere a plain line every few seconds.

    Args:
        total: units of the whole work; None where it is not known.
        label: what is being done.
        unit: what is counted, in the plural.
        done: units that were done before.
        file: where to write; standard error by default.
    """

    def __init__(
        self, total: int | None, label: str, unit: str = "images", *, done: int = 0, file: TextIO | None = None
    ) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self._before = done
        self._file = file or sys.stderr
        self._terminal = self._file.isatty()
        self._every = SECONDS_ON_TERMINAL if self._terminal else SECONDS_IN_LOG
        self._begun = self._shown = time.monotonic()
        self._width = 0
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(last=True)

    def advance(self, units: int = 1, note: str | None = None) -> None:
        """Count units as done.

        Args:
            units: how many more.
            note: shown at the end of the line until the next one.
        """
        self.done += units
        if note is not None:
            self._note = note
        if time.monotonic() - self._shown >= self._every:
            self._show()

    @property
    def rate(self) -> float:
        """Units a second so far."""
        return (self.done - self._before) / max(1e-9, time.monotonic() - self._begun)

    def line(self) -> str:
        """The present state in one line."""
        spent = time.monotonic() - self._begun
        count = f"{self.done:,}" + (f"/{self.total:,}" if self.total is not None else "")
        parts = [f"{self.label}: {count} {self.unit}"]
        if self.rate > 0:
            parts.append(f"{self.rate:.3g}/s" if self.rate < 100 else f"{self.rate:,.0f}/s")
            if self.total is not None and self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / self.rate)} left")
        if self.total is None or self.done >= self.total:
            parts.append(duration(spent))
        return ", ".join([*parts, *([self._note] if self._note else [])])

    def _show(self, last: bool = False) -> None:
        self._shown = time.monotonic()
        line = self.line()
        if not self._terminal:
            print(line, file=self._file, flush=True)
            return
        padded = line.ljust(self._width)
        self._width = len(line)
        self._file.write("\r" + padded + ("\n" if last else ""))
        self._file.flush()


def track(items: Iterable[Item], total: int | None, label: str, unit: str = "images") -> Iterator[Item]:
    """Yield the items and show how far they are."""
    with Progress(total, label, unit) as progress:
        for item in items:
            yield item
            progress.advance()


def duration(seconds: float) -> str:
    """`45s`, `3m20s`, `2h05m`, `3d04h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"
