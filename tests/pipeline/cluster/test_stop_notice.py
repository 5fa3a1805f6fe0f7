"""Being asked to leave: who is told, and who is left alone."""

import subprocess
import sys

import psutil

from pipeline.cluster.prestop import pass_on

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
