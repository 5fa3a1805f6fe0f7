"""Is everything there that a job will need? Each check tries the real thing, and says how to mend what failed.

The same checks run where the driver is and on a worker, since a policy or a missing key may hit only one of them.
"""

import os
import shutil
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path

from pipeline.config.tree import Config
from pipeline.data.index import read_index
from pipeline.storage import store
from pipeline.storage.address import refuse_user, shown
from pipeline.tracking.client import TrackingError, probe

CLOCK_SECONDS = 60.0
"""S3 refuses signatures that are 15 minutes off; leases and logs want better."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a job will need. Plain values, so that it can be handed to a worker."""

    storage: str = ""
    """URL below which the job writes; empty: not checked."""
    indexes: tuple[str, ...] = ()
    """URLs of the splits that it reads."""
    mlflow: str = ""
    """Address of the MLflow server; empty: not checked."""
    cache: str = ""
    """A worker's folder for shards; empty: none."""
    cache_gb: float = 0.0
    """Room that the cache wants, in 10^9 bytes."""
    workers: int = 1
    """Processes that compute side by side; 0: only the driver."""
    min_workers: int = 0
    """With so many the job goes on where the others do not come; 0: with all only."""
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check saw."""

    check: str
    where: str
    """`driver`, `worker`, or `workers` for what they do together."""
    ok: bool
    says: str
    mend: str = ""
    """What to do, where it failed."""


def needs_of(config: Config, verb: str) -> Needs:
    """What `lhrnet <verb>` with this config will need; the empty verb needs what training and evaluation need."""
    data = {
        "train": (config.data.train, config.data.val),
        "tune": (config.data.train, config.data.val),
        "submit": (config.data.test or config.data.val,),
        "": tuple(filter(None, (config.data.train, config.data.val, config.data.test))),
    }.get(verb, (config.data.val,))
    training = verb in ("", "train", "tune")
    alone = config.evaluate.workers == 0
    tracking = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI", "(not set)")
    return Needs(
        storage=config.storage,
        indexes=data,
        mlflow=tracking if config.tracking.enabled else "",
        cache=config.stream.cache if training else "",
        cache_gb=config.stream.cache_gb,
        workers=config.train.workers if training else min(1, config.evaluate.workers),
        min_workers=(config.train.min_workers or 0) if training else 0,
        gpus_per_worker=float(config.train.device == "cuda") if training else config.evaluate.gpus_per_worker,
        cpus_per_worker=config.train.cpus_per_worker if training or alone else config.evaluate.cpus_per_worker,
    )


def examine(needs: Needs, where: str) -> list[Finding]:
    """Run every check that this place can make by itself."""
    findings = [_clock(needs, where)]
    if needs.storage:
        findings.append(_checked("storage", where, partial(_storage, needs.storage), STORAGE_MEND, STORAGE_MEND))
    findings += [_checked("shards", where, partial(_index, url), SHARDS_MEND, STORAGE_MEND) for url in needs.indexes]
    if needs.mlflow:
        findings.append(_mlflow(needs.mlflow, where))
    if needs.cache and where != "driver":
        findings.append(_checked("disk", where, partial(_disk, needs.cache, needs.cache_gb), DISK_MEND))
    if needs.gpus_per_worker and where != "driver":
        findings.append(_checked("gpu", where, _gpu, GPU_MEND))
    return findings


STORAGE_MEND = (
    "check AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that the bucket exists, and that this pod "
    "may reach it (NetworkPolicy storage-and-tracking)"
)
SHARDS_MEND = "run `lhrnet shard SOURCE TARGET` first, or point data.train, data.val and data.test at its output"
DISK_MEND = (
    "lower stream.cache_gb, point stream.cache at a larger volume that this user may write to, or empty it for no cache"
)
GPU_MEND = "ask for nvidia.com/gpu in the pod, and see that the GPU operator or device plugin runs on the node"
MLFLOW_MEND = "check MLFLOW_TRACKING_URI, that the server runs, and that this pod may reach it (port 5000)"
HOSTS_MEND = "add the name in MLFLOW_TRACKING_URI, with its port, to MLFLOW_SERVER_ALLOWED_HOSTS of the server"
KEYS_MEND = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user that the server knows"


def _checked(check: str, where: str, look: Callable[[], str], mend: str, unreachable: str = "") -> Finding:
    """Look; `unreachable` mends what the looker may not enter or cannot reach, `mend` anything else."""
    try:
        return Finding(check=check, where=where, ok=True, says=look())
    except (PermissionError, ConnectionError, TimeoutError) as error:
        return Finding(check=check, where=where, ok=False, says=str(error), mend=unreachable or mend)
    except (OSError, ValueError, RuntimeError, HTTPException) as error:
        return Finding(check=check, where=where, ok=False, says=str(error), mend=mend)


def _storage(url: str) -> str:
    place = store.join(url, f".doctor-{uuid.uuid4().hex[:12]}")
    content = os.urandom(1 << 20)
    began = time.monotonic()
    store.write_bytes(place, content)
    try:
        if store.read_bytes(place) != content:
            raise OSError(f"{place} was read back different from what was written")
    finally:
        store.delete(place)
    if store.exists(place):
        raise OSError(f"{place} is still there after it was deleted")
    return f"wrote, read and deleted 1 MiB at {url} in {time.monotonic() - began:.2f} s"


def _index(url: str) -> str:
    index = read_index(url)
    for shard in (index.shards[0], index.shards[-1]):
        size = store.size(store.join(url, shard.name))
        if size != shard.bytes:
            there = "is not there" if size is None else f"has {size} bytes"
            raise ValueError(f"{store.join(url, shard.name)} {there}, the index says {shard.bytes} bytes")
    return f"{index.images} images in {len(index.shards)} shards at {url}"


def _disk(folder: str, gigabytes: float) -> str:
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    probe = path / f".doctor-{uuid.uuid4().hex[:12]}"
    probe.write_bytes(b"1")
    probe.unlink()
    kept = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    room = (shutil.disk_usage(path).free + kept) / 1e9
    if room < gigabytes:
        raise OSError(f"{folder} has room for {room:.1f} GB, the cache may grow to {gigabytes:.1f} GB")
    return f"{room:.0f} GB of room for the cache at {folder}"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device is to be seen")
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    total = torch.ones(1 << 20, device="cuda").sum().item()
    if total != 1 << 20:
        raise RuntimeError(f"{names[0]} adds up wrongly")
    return f"{', '.join(names)}, CUDA {torch.version.cuda}"


def _mlflow(uri: str, where: str) -> Finding:
    """`/health` answers anybody; the API shows whether the server takes our name for it and our password."""

    def failed(says: str, mend: str) -> Finding:
        return Finding(check="mlflow", where=where, ok=False, says=says, mend=mend)

    if not uri.startswith("http"):
        return failed(f"MLFLOW_TRACKING_URI is {shown(uri)}", "set it to http://host:port, or tracking.enabled=false")
    try:
        refuse_user("MLFLOW_TRACKING_URI", uri, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    except ValueError as error:
        return failed("its address carries a user or a password", str(error))
    try:
        probe(uri)
    except TrackingError as error:
        return failed(f"{uri}: {error}", {401: KEYS_MEND, 403: HOSTS_MEND}.get(error.status, MLFLOW_MEND))
    except (OSError, ValueError, HTTPException) as error:
        return failed(f"{uri} does not answer as MLflow does: {str(error).strip() or repr(error)}", MLFLOW_MEND)
    return Finding(check="mlflow", where=where, ok=True, says=f"{uri} answers, also to the API")


def _clock(needs: Needs, where: str) -> Finding:
    """Compare this machine's clock with that of the object store or of MLflow, whichever says what time it is."""
    for address in filter(None, (os.environ.get("AWS_ENDPOINT_URL"), needs.mlflow)):
        said = _date_of(address) if shown(address) == address else None
        if said is not None:
            off = abs(time.time() - said)
            mend = "" if off <= CLOCK_SECONDS else "synchronise the node's clock (chrony, systemd-timesyncd)"
            return Finding(check="clock", where=where, ok=not mend, says=f"{off:.0f} s from {address}'s", mend=mend)
    return Finding(check="clock", where=where, ok=True, says="nobody here to compare with")


def _date_of(address: str) -> float | None:
    headers: Message
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
    except (OSError, ValueError, HTTPException):
        return None
    date = headers.get("Date")
    return parsedate_to_datetime(date).timestamp() if date else None


def report(findings: Sequence[Finding]) -> str:
    """One line a check, what failed with the way to mend it below."""
    lines = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.ok else 'FAIL'} {finding.where:8}{finding.check:11}{finding.says}")
        if finding.mend:
            lines.append(f"     mend: {finding.mend}")
    failed = sum(not finding.ok for finding in findings)
    lines.append(f"{failed} of {len(findings)} checks failed" if failed else f"all {len(findings)} checks passed")
    return "\n".join(lines)
