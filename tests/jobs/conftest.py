"""The command line in this process, as a user types it."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from jobs.cli import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`lhrnet` with these words."""

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lhrnet", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return call
