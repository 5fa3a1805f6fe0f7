"""Storage, checkpoints, leases and MLflow through the proxy: what is asked is right or an honest error, soon.

A fault is survived if the call gives what it gives undisturbed, or raises one of the errors that end in one line,
within `SOON_S`; and if what lies behind the proxy afterwards is what was there before or what was to be written.
"""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.soak.proxy import FaultProxy, orders
from pipeline.checkpoints import checkpoint
from pipeline.cluster.lease import Lease
from pipeline.storage import store
from pipeline.tracking import mlflow_run
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.record import RunRecord

HONEST = (OSError, ValueError, RuntimeError)
"""What ends a verb in one line."""
SOON_S = 100.0
UNSUMMED = ("list", "exists", "find the newest checkpoint", "find a run in MLflow", "metrics to MLflow")
"""Their answers carry no checksum: a bit that flips in them and leaves them well formed cannot be seen by anybody."""


class Faults:
    """Operations to try, each with what it must come to."""

    def __init__(self, draw: random.Random, s3: FaultProxy, mlflow: FaultProxy, base: str, run: str) -> None:
        self.draw, self.s3, self.mlflow, self.base = draw, s3, mlflow, base
        self.tried: Counter[tuple[str, str]] = Counter()
        self.survived: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []
        self.known = {f"{n}.bin": draw.randbytes(3000 * (n + 1)) for n in range(5)}
        for name, data in self.known.items():
            store.write_bytes(f"{base}/known/{name}", data)
        self.whole = checkpoint.load(run)
        for step in (8, 12):
            checkpoint.save(self.whole, checkpoint.step_url(f"{base}/run", step))
        self.config = TrackingConfig(experiment="soak")
        client = mlflow_run.connect(self.config)
        self.identity = f"{base}/identity"
        self.tracked = mlflow_run.create_ended_run(client, experiment="soak", name="soak", identity=self.identity)
        self.step = 0

    def one(self) -> None:
        """Try one operation under one fault."""
        names: dict[str, Callable[[], str]] = {
            "read": self._read,
            "list": self._list,
            "exists": self._exists,
            "write": self._write,
            "create": self._create,
            "save and load a checkpoint": self._checkpoint,
            "find the newest checkpoint": self._newest,
            "lease": self._lease,
            "find a run in MLflow": self._find_run,
            "metrics to MLflow": self._metrics,
        }
        name = self.draw.choice(list(names))
        (fault, count), proxy = orders(self.draw), self.mlflow if "MLflow" in name else self.s3
        if name in UNSUMMED and fault.startswith("flip"):
            return
        proxy.order(fault, count)
        began = time.monotonic()
        try:
            wrong = names[name]()
        except HONEST:
            wrong = ""
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        finally:
            befell = proxy.done
            proxy.order(fault, 0)
        seconds = time.monotonic() - began
        if not befell:
            return
        wrong = wrong or (f"took {seconds:.0f} s" if seconds > SOON_S else "") or self._behind()
        self.tried[name, fault] += 1
        self.survived[name, fault] += not wrong
        if wrong:
            self.failures.append(f"{name} under {fault} x {count}: {wrong}")

    def _behind(self) -> str:
        """What is wrong in the store itself, with no fault before it."""
        lost = [n for n, data in self.known.items() if store.read_bytes(f"{self.base}/known/{n}") != data]
        return f"{', '.join(lost)} changed in the store" if lost else ""

    def _read(self) -> str:
        name = self.draw.choice(list(self.known))
        return (
            "" if store.read_bytes(f"{self.base}/known/{name}") == self.known[name] else "other bytes than were written"
        )

    def _list(self) -> str:
        found = store.listing(f"{self.base}/known")
        return "" if found == {n: len(data) for n, data in self.known.items()} else f"listed {found}"

    def _exists(self) -> str:
        there = store.exists(f"{self.base}/known/0.bin")
        return "" if there else "an object that is there is said not to be"

    def _write(self) -> str:
        url, before, after = f"{self.base}/written", self.draw.randbytes(500), self.draw.randbytes(900)
        proxy_count, self.s3.count = self.s3.count, 0
        store.write_bytes(url, before)
        self.s3.count = proxy_count
        try:
            store.write_bytes(url, after)
            allowed: tuple[bytes, ...] = (after,)
        except HONEST:
            allowed = (before, after)
        self.s3.count = self.s3.done  # no more faults
        return "" if store.read_bytes(url) in allowed else "half or other content was written"

    def _create(self) -> str:
        url, mine = f"{self.base}/created/{self.draw.random()}", self.draw.randbytes(100)
        made = store.create(url, mine)
        self.s3.count = self.s3.done
        if not made:
            return "said that another had made it"
        return "" if store.exists(url) and store.read_bytes(url) == mine else "said to be made, and is not there"

    def _checkpoint(self) -> str:
        url = checkpoint.step_url(f"{self.base}/saved-{self.draw.random()}", 1)
        checkpoint.save(self.whole, url)
        loaded = checkpoint.load(url)
        same = all(loaded.weights[name].equal(tensor) for name, tensor in self.whole.weights.items())
        return "" if same else "other weights than were saved"

    def _newest(self) -> str:
        found = [entry.url for entry in checkpoint.listing(f"{self.base}/run")]
        wanted = [checkpoint.step_url(f"{self.base}/run", step) for step in (8, 12)]
        return "" if found == wanted else f"found {found}"

    def _lease(self) -> str:
        url = f"{self.base}/leased-{self.draw.random()}"
        with Lease(url, life=3.0) as first:
            time.sleep(1.5)
            self.s3.count = self.s3.done
            try:
                with Lease(url, life=3.0):
                    return "" if first.lost.wait(3.0) else "two hold one lease"
            except RuntimeError:
                return ""

    def _find_run(self) -> str:
        client = mlflow_run.connect(self.config)
        found = mlflow_run.find_run(client, "soak", self.identity)
        if found is None:
            return "a run that is there was not found"
        return "" if found.run_id == self.tracked.run_id else f"found {found.run_id}"

    def _metrics(self) -> str:
        self.step += 1
        client = mlflow_run.connect(self.config)
        RunRecord(client, self.tracked).metrics({"ap": self.step / 7}, self.step)
        self.mlflow.count = self.mlflow.done
        kept = {m.step: m.value for m in client.get_metric_history(self.tracked.run_id, "ap")}
        return "" if kept.get(self.step) == self.step / 7 else "a metric that was taken is not there"


def soak(draw: random.Random, env: dict[str, str], run: str, seconds: float, say: Callable[[str], None]) -> Faults:
    """Try faults for so many seconds, on servers whose addresses are in `env`."""
    logging.disable(logging.CRITICAL)
    s3, mlflow = FaultProxy(env["AWS_ENDPOINT_URL"]), FaultProxy(env["MLFLOW_TRACKING_URI"])
    os.environ.update(env | {"AWS_ENDPOINT_URL": s3.address, "MLFLOW_TRACKING_URI": mlflow.address})
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    until = time.monotonic() + seconds
    faults = Faults(draw, s3, mlflow, f"s3://lhrnet/soak/{draw.randrange(10**9)}", run)
    while time.monotonic() < until:
        failures = len(faults.failures)
        faults.one()
        for failure in faults.failures[failures:]:
            say(f"faults: {failure}")
    return faults
