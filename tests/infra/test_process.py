"""Servers are found, watched and ended by pid, with all their children."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.process import end, spawn, tail, wait_until_ready

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_a_server_that_dies_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = spawn("storage", [sys.executable, "-c", "raise SystemExit('disk is full')"], log=tmp_path / "log", env={})
    with pytest.raises(RuntimeError, match=r"storage ended while it started(.|\n)*disk is full"):
        wait_until_ready(service, lambda: False, seconds=20)


def test_a_server_that_never_answers_is_given_up_after_the_time_allowed(tmp_path: Path) -> None:
    service = spawn("storage", SLEEPER, log=tmp_path / "log", env=os.environ)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="did not answer within 1 s"):
        wait_until_ready(service, lambda: False, seconds=1)
    assert time.monotonic() - began < 5
    assert end([service], seconds=5) == ["storage"]


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no program '/nowhere/weed'; run `make setup`"):
        spawn("s3", ["/nowhere/weed"], log=tmp_path / "log", env={})


def test_ending_takes_children_along_and_kills_what_does_not_listen(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    service = spawn("stubborn", [sys.executable, "-c", stubborn], log=tmp_path / "log", env=os.environ)
    wait_until_ready(service, lambda: bool(service.log_tail()), seconds=20)
    child = psutil.Process(int(service.log_tail()))
    assert end([service], seconds=0.5) == ["stubborn"]
    assert service.process is None
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_pid_that_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    service = spawn("mine", SLEEPER, log=tmp_path / "log", env=os.environ)
    someone_else = replace(service, started=service.started - 100)
    assert someone_else.process is None
    assert end([someone_else], seconds=0) == []
    assert service.process is not None
    end([service], seconds=0)


def test_the_tail_of_a_log_that_was_never_written_says_so(tmp_path: Path) -> None:
    assert "never written" in tail(tmp_path / "none.log")
