"""Pass a pod's end on to its training workers: they save and leave before Ray is ended.

    python -m pipeline.cluster.prestop --patience 90    # a pod's preStop hook

A pod's own SIGTERM ends Ray, and Ray its workers, before they have saved: the workers must be told first.
"""

import argparse
from contextlib import suppress

import psutil


def pass_on(root: int, patience: float) -> int:
    """Send SIGTERM to the training workers among the descendants of a process, and wait until they are gone.

    A worker's own children are left to it: its data loaders bear its name, and without them it could not save.

    Args:
        root: the process's id; in a pod 1.
        patience: longest wait in seconds.

    Returns:
        How many workers there were.
    """
    workers = _workers(root)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.terminate()
    psutil.wait_procs(workers, timeout=patience)
    return len(workers)


def _workers(root: int) -> list[psutil.Process]:
    parents = {}
    for process in psutil.Process(root).children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith("ray::RayTrainWorker"):
                parents[process] = process.ppid()
    named = {process.pid for process in parents}
    return [process for process, parent in parents.items() if parent not in named]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipeline.cluster.prestop")
    parser.add_argument("--root", type=int, default=1, help="tell the workers below this process")
    parser.add_argument("--patience", type=float, default=90.0, help="longest wait in seconds")
    asked = parser.parse_args()
    print(f"{pass_on(asked.root, asked.patience)} workers were told to leave")
