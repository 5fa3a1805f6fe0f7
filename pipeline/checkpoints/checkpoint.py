"""Checkpoints: a folder of fixed file names at any storage URL, made whole by a manifest that is written last.

<storage>/<name>/checkpoints/step-00000250/
    config.json     the resolved config: alone enough to rebuild the network
    weights.pt      the weights to use: the moving average where the run keeps one, else the network's own
    training.pt     what a resumed run needs besides: network, optimiser, random states, cursor, counters
    metrics.json    what was known of it when it was saved
    manifest.json   size and sha256 of each, step and metrics; a folder without it is not a checkpoint
"""

import hashlib
import io
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from lhrnet.network import ModelConfig, create_model
from pipeline.checkpoints.stored_config import current
from pipeline.checkpoints.tensor_file import read_tensors, read_weights
from pipeline.storage import store

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
THRESHOLD = "val/score_threshold"
"""Among a checkpoint's metrics: the score from which people found agree best with the ground truth."""
FILES = ("config.json", "weights.pt", "training.pt", "metrics.json")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint, read and verified."""

    url: str
    """Its folder; empty before it is saved."""
    step: int
    """Training steps behind it."""
    config: Mapping[str, Any]
    """The resolved config it was trained with, in today's names."""
    weights: Mapping[str, Tensor]
    """State dict to evaluate and export."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures by name, e.g. `val/ap`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """State for resuming; empty when loaded without it."""
    sha256: str = ""
    """Of the manifest: names this content and no other. Empty before it is saved."""

    @property
    def model(self) -> ModelConfig:
        """The network's settings.

        Raises:
            ValueError: the config has none, a key that this version does not know, or a value that is not allowed.
        """
        place = f"checkpoint {self.url or '(unsaved)'}: its config"
        if not isinstance(self.config, Mapping) or "model" not in self.config:
            raise ValueError(f"{place} has no section 'model', which says whose weights these are; use another one")
        try:
            # a key that were passed over, such as a later version's, could give another network of the same shapes
            return TypeAdapter(ModelConfig).validate_python(self.config["model"], extra="forbid")
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(('model', *map(str, fault['loc'])))}={fault['input']!r:.60}: {fault['msg']}"
                for fault in error.errors()
            )
            raise ValueError(f"{place} does not fit this version: {faults}") from error


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """A whole checkpoint that lies in a run's folder, known by its manifest."""

    url: str
    step: int
    metrics: Mapping[str, float]

    @property
    def ap(self) -> float:
        """Validation AP, or -1 where it was not validated."""
        return ap_of(self.metrics)


def ap_of(metrics: Mapping[str, float]) -> float:
    """Validation AP among a checkpoint's metrics; -1 where there is none, or no number that could be compared."""
    try:
        ap = float(metrics.get("val/ap", -1.0))
    except (TypeError, ValueError):
        return -1.0
    return ap if math.isfinite(ap) else -1.0


def threshold_of(metrics: Mapping[str, Any]) -> float | None:
    """Score below which people are rather nobody, as the validation found it; None where it is not known."""
    try:
        threshold = float(metrics[THRESHOLD])
    except (KeyError, TypeError, ValueError):
        return None
    return threshold if math.isfinite(threshold) and threshold > 0 else None


def best(entries: Sequence[CheckpointInfo]) -> CheckpointInfo:
    """The best of a run's checkpoints by validation AP; of equals, and where none was validated, the newest."""
    return max(entries, key=lambda entry: (entry.ap, entry.step))


def save(checkpoint: Checkpoint, url: str) -> None:
    """Write a checkpoint's files, the manifest last. Until that is there, nobody takes the folder for a checkpoint.

    An older checkpoint at the same place stops being one before its first file is replaced.
    """
    store.delete(store.join(url, MANIFEST))
    config, metrics = (json.dumps(part, indent=1).encode() for part in (checkpoint.config, checkpoint.metrics))
    contents = (config, _pack(dict(checkpoint.weights)), _pack(dict(checkpoint.training)), metrics)
    blobs = dict(zip(FILES, contents, strict=True))
    for name, blob in blobs.items():
        store.write_bytes(store.join(url, name), blob)
    manifest = {
        "format": FORMAT,
        "step": checkpoint.step,
        "metrics": checkpoint.metrics,
        "files": {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in blobs.items()},
    }
    store.write_bytes(store.join(url, MANIFEST), json.dumps(manifest, indent=1).encode())


def load(url: str, *, training: bool = False) -> Checkpoint:
    """Read a checkpoint and hold every file against the manifest.

    Args:
        url: a checkpoint's folder, or a run's: then its best by validation AP, else its newest.
        training: read the state for resuming, too.

    Raises:
        FileNotFoundError: there is no whole checkpoint at the address.
        ValueError: a file does not fit the manifest, or the config is no mapping.
    """
    url = find(url)
    raw = store.read_bytes(store.join(url, MANIFEST))
    manifest = _manifest(url, raw)

    def read(name: str) -> bytes:
        return _read(url, manifest, name)

    return Checkpoint(
        url=url,
        step=manifest["step"],
        config=_config(url, manifest),
        weights=read_weights(read("weights.pt"), store.join(url, "weights.pt")),
        metrics=_json(url, manifest, "metrics.json"),
        training=read_tensors(read("training.pt"), store.join(url, "training.pt")) if training else {},
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def read_config(url: str) -> dict[str, Any]:
    """The config of a checkpoint, in today's names, without its weights.

    Args:
        url: as for `load`.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    url = find(url)
    return _config(url, _manifest(url, store.read_bytes(store.join(url, MANIFEST))))


def _read(url: str, manifest: Mapping[str, Any], name: str) -> bytes:
    blob = store.read_bytes(store.join(url, name))
    if hashlib.sha256(blob).hexdigest() != manifest["files"][name]["sha256"]:
        raise ValueError(f"checkpoint {url} is damaged: {name} does not fit the manifest; use another checkpoint")
    return blob


def _json(url: str, manifest: Mapping[str, Any], name: str) -> Any:
    try:
        return json.loads(_read(url, manifest, name))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"checkpoint {url} is damaged: {name} is not JSON ({error}); use another checkpoint") from None


def _config(url: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    config = _json(url, manifest, "config.json")
    if not isinstance(config, dict):
        raise ValueError(f"checkpoint {url}: its config is a {type(config).__name__}, not keys and values")
    return current(config)


def find(url: str) -> str:
    """The address of a checkpoint's folder: the one given, or the best (else the newest) of a run's folder."""
    url = url.rstrip("/")
    if store.exists(store.join(url, MANIFEST)):
        return url
    entries = listing(url)
    if not entries:
        raise FileNotFoundError(
            f"no checkpoint at {url}: neither {MANIFEST} nor a checkpoints/ folder with a whole one in it; "
            "give the folder of a run or of one of its checkpoints"
        )
    return best(entries).url


def listing(run_url: str) -> list[CheckpointInfo]:
    """The whole checkpoints of a run, oldest first. One whose manifest is damaged is warned of and left out."""
    entries = []
    for url in folders(run_url):
        try:
            manifest = _manifest(url, store.read_bytes(store.join(url, MANIFEST)))
        except FileNotFoundError:  # the run has removed it since: it keeps the last and the best
            continue
        except ValueError as error:
            log.warning("passed by: %s", error)
            continue
        entries.append(CheckpointInfo(url=url, step=manifest["step"], metrics=manifest["metrics"]))
    return entries


def folders(run_url: str, *, whole: bool = True) -> list[str]:
    """Addresses of a run's checkpoints, oldest first: of those with a manifest, or of halves that have none."""
    root = store.join(run_url, "checkpoints")
    files = store.listing(root)
    names = sorted({file.split("/")[0] for file in files if "/" in file})
    if not whole:
        names = [name for name in names if re.fullmatch(r"step-\d{8,}", name)]
    return [store.join(root, name) for name in names if (f"{name}/{MANIFEST}" in files) == whole]


def _manifest(url: str, raw: bytes) -> dict[str, Any]:
    """A manifest that has all that is read of it.

    Raises:
        ValueError: it has not, or is of another format.
    """
    try:
        manifest = json.loads(raw)
        version = manifest["format"]
        if version == FORMAT:
            manifest["step"] = int(manifest["step"])
            dict(manifest["metrics"])
            [manifest["files"][name]["sha256"] for name in FILES]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"checkpoint {url} is damaged: its {MANIFEST} is not one ({type(error).__name__}: {error}); "
            "use another checkpoint"
        ) from error
    if version != FORMAT:
        raise ValueError(f"checkpoint {url} has format {version!r}; this version reads {FORMAT}")
    return dict(manifest)


def step_url(run_url: str, step: int) -> str:
    """Where the checkpoint of a step belongs."""
    return store.join(run_url, "checkpoints", f"step-{step:08d}")


def remove(url: str) -> None:
    """Delete a checkpoint, its manifest first, so that no half of it is taken for a whole."""
    store.delete(store.join(url, MANIFEST))
    store.delete(url)


def build_network(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> nn.Module:
    """The checkpoint's network with its weights, in eval mode on the device.

    Raises:
        ValueError: the config describes no network, or the weights are of another one, or not finite.
    """
    network = create_model(checkpoint.model)
    load_weights(network, checkpoint.weights, checkpoint.url)
    # said here and not by `load_weights`: training has its own answer to a network that is never finite
    bad = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(
            f"checkpoint {checkpoint.url or '(unsaved)'} has weights that are not finite ({len(bad)}, such as "
            f"{bad[0]}) and would find nobody; use an earlier checkpoint"
        )
    return network.to(device).eval()


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Load a state dict, or say in one line how it belongs to another network."""
    own = network.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or extra or shapes:
        some = ", ".join([*missing[:2], *extra[:2], *sorted(shapes)[:2]])
        raise ValueError(
            f"checkpoint {origin or '(unsaved)'} is of another network: {len(missing)} weights missing, {len(extra)} "
            f"too many, {len(shapes)} of another shape (such as {some}); set the model section as it was trained"
        )
    network.load_state_dict(dict(weights))


def _pack(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
