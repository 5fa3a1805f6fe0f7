"""A trained network as one ONNX file, which needs neither torch nor this project.

    images: uint8 (B, H, W, 3), RGB, H and W multiples of 32 --> heat (B, K, H/2, W/2), tags (B, K, H/4, W/4)

Normalising is part of the graph; batch norm and channel exchange are folded into constant weights. The file's metadata
hold a `Card`.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lhrnet.geometry import input_size
from lhrnet.inference import FromPixels
from lhrnet.network import PoseNetwork, deploy
from lhrnet.network.alignment import align
from lhrnet.network.config import check_short_side
from lhrnet.network.subpixel import SubpixelUp
from pipeline.checkpoints.trained_network import Trained
from pipeline.cluster.processor import processor_name
from pipeline.serving.engines import Measured, fastest
from pipeline.serving.onnx_network import METADATA, Card, OnnxNetwork, describe, is_onnx
from pipeline.storage import store

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference from torch, as a share of the largest value of the map (at least 1)."""
CHECKED = ((1, 64, 64), (2, 96, 160), (1, 224, 128))
"""Batches, heights and widths at which a file is compared with torch, beside the network's own."""


class PixelForm(FromPixels):
    """A trained network in the form that is exported: it takes bytes, and puts out no tags at the half resolution."""

    def __init__(self, network: PoseNetwork) -> None:
        deployed = deploy(network)
        super().__init__(deployed)
        align(deployed)
        head = deployed.head
        up, act = head.deconv
        assert isinstance(up, nn.ConvTranspose2d)
        head.deconv = nn.Sequential(SubpixelUp(up), act)
        last, count = head.final1, network.config.keypoints.count
        assert last.bias is not None
        last.weight, last.bias = (nn.Parameter(x[:count], requires_grad=False) for x in (last.weight, last.bias))
        last.out_channels = count
        self.eval()


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A network in the form that is written, and as it was before, to compare."""

    content: bytes
    """The ONNX file."""
    form: PixelForm
    """What it must compute."""
    card: Card
    apart: float
    """Largest difference from torch, as a share of the largest value of the map (at least 1)."""


def export(url: str, *, size: int | None = None) -> Exported:
    """Turn a trained network into ONNX and compare it with torch.

    Args:
        url: a checkpoint's or a run's folder at any storage URL, or `models:/NAME@champion`.
        size: short side of the input that users take by default; None: the one the network is made for.

    Raises:
        FileNotFoundError: there is no network at the address.
        ValueError: it is no network of the registry, it is exported already, or the size not from 32 to 4096.
        RuntimeError: the `export` extra is not installed, or ONNX does not compute what torch does.
    """
    if is_onnx(url):
        raise ValueError(f"{url} is exported already; give the folder of a checkpoint or run")
    if size is not None:
        check_short_side(size)
    trained = Trained.load(url)
    if not isinstance(trained.network, PoseNetwork):
        raise ValueError(f"{url} holds a {type(trained.network).__name__}, not a network of this registry")
    network = trained.network.cpu()
    form = PixelForm(network)
    card = describe(
        network.config,
        size=trained.size if size is None else size,
        precision="fp32",
        step=trained.step,
        sha256=trained.sha256,
        min_score=trained.min_score,
    )
    content = with_card(to_onnx(form), card)
    return Exported(content=content, form=form, card=card, apart=check_against_torch(content, form, card.size))


def to_onnx(form: PixelForm) -> bytes:
    """The graph, for any batch and size. Dimensions are called batch, height, width and fractions of them."""
    onnx = need_onnx()
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the size check is traced away, and this exporter is called old
        # The exporter that traces: it takes a second where the newer one takes half a minute and two more packages,
        # and onnxruntime computes the graphs of both equally fast.
        torch.onnx.export(
            form,
            (torch.zeros(1, 64, 96, 3, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type]  # the exporter that traces takes one
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["heat", "tags"],
            dynamic_axes={
                "images": {0: "batch", 1: "height", 2: "width"},
                "heat": {0: "batch", 2: "height/2", 3: "width/2"},
                "tags": {0: "batch", 2: "height/4", 3: "width/4"},
            },
        )
    onnx.checker.check_model(onnx.load_from_string(buffer.getvalue()), full_check=True)
    return buffer.getvalue()


def check_against_torch(content: bytes, form: PixelForm, size: int) -> float:
    """Compare a file with torch at several sizes and batches.

    Returns:
        The largest difference, as a share of the largest value of the map (at least 1).

    Raises:
        RuntimeError: it is above `TOLERANCE`.
    """
    exported = OnnxNetwork(content)
    worst = 0.0
    draws = torch.Generator().manual_seed(0)
    for shape in (*CHECKED, (1, *input_size(size, size, size))):
        pixels = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=draws)
        with torch.inference_mode():
            wanted = form(pixels)
        for name, want, found in zip(("heat", "tags"), wanted, exported(pixels), strict=True):
            apart = float((want - found).abs().max()) / max(1.0, float(want.abs().max()))
            if not apart <= TOLERANCE:
                raise RuntimeError(
                    f"the exported network's {name} of images {shape} differ from torch's by {apart:.2g}, allowed are "
                    f"{TOLERANCE:g}: the weights may not be finite, or onnxruntime computes otherwise here"
                )
            worst = max(worst, apart)
    return worst


def with_card(content: bytes, card: Card) -> bytes:
    """The file with its metadata set."""
    onnx = need_onnx()
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {METADATA: card.to_json()})
    model.producer_name, model.producer_version = "lightweight-hrnet", card.version
    return bytes(model.SerializeToString())


def with_engine(content: bytes, measured: Mapping[str, Measured]) -> bytes:
    """The file whose card names the engine that was fastest here."""
    card = replace(OnnxNetwork(content).card, engine=fastest(measured), processor=processor_name())
    return with_card(content, card)


def write_onnx(content: bytes, url: str) -> None:
    """Put a file at any storage URL, whole or not at all.

    Raises:
        ValueError: the address does not end in .onnx, by which other verbs would know it.
    """
    if not is_onnx(url):
        raise ValueError(f"--out {url} must end in .onnx")
    store.write_bytes(url, content)


def need_onnx() -> Any:
    """The onnx package.

    Raises:
        RuntimeError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise RuntimeError(
            "exporting needs onnx and onnxruntime, which are not installed: pip install 'lightweight-hrnet[export]'"
        ) from error
    return onnx
