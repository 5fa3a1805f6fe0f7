"""Being asked to leave: who is told, and who is left alone."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pipeline.cluster.prestop import pass_on
from pipeline.cluster.stop_notice import Notice, asked_to_leave, on_sigterm, terminated

WORKER = """
import os, signal, sys, time
loader = os.fork()  # bears its parent's name, as Ray's workers' data loaders do
if not loader:
    time.sleep(60)
def leave(number, frame):
    print("asked; loaders that died:", os.waitpid(loader, os.WNOHANG)[0] > 0, flush=True)
    os.kill(loader, signal.SIGKILL)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(60)
"""
RAYLET = f"""
import subprocess, sys
subprocess.run(["ray::RayTrainWorker.execute", "-c", {WORKER!r}], executable=sys.executable)
"""


def test_workers_are_told_and_their_data_loaders_left_to_them() -> None:
    raylet = subprocess.Popen([sys.executable, "-c", RAYLET], stdout=subprocess.PIPE, text=True)
    try:
        assert raylet.stdout
        assert raylet.stdout.readline() == "ready\n"
        assert pass_on(raylet.pid, patience=10) == 1
        assert raylet.communicate(timeout=10)[0] == "asked; loaders that died: False\n"
    finally:
        for process in psutil.Process(raylet.pid).children(recursive=True) if raylet.poll() is None else []:
            process.kill()
        raylet.kill()
        raylet.wait()


def test_sigterm_is_caught_within_the_block_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    told: list[int] = []

    def leave() -> None:
        told.append(1)
        raise LookupError

    with pytest.raises(LookupError), on_sigterm(leave):
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == [1]
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_signals_stay_as_they_are() -> None:
    def handler() -> object:
        with on_sigterm(lambda: None):
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() == signal.getsignal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_what_was_asked_to_leave(number: signal.Signals) -> None:
    with asked_to_leave() as leaving:
        assert not leaving.is_set()
        os.kill(os.getpid(), number)
        assert leaving.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_a_notice_tells_of_sigterm() -> None:
    notice = Notice()
    try:
        with on_sigterm(terminated.set):
            assert not notice()
            os.kill(os.getpid(), signal.SIGTERM)
        assert notice()
        assert not notice.by_lease.is_set()
    finally:
        terminated.clear()
