"""An exported network by turns in torch, onnxruntime and, where its extra is installed, OpenVINO, one and two threads,
beside EfficientHRNet H-3 in torch.

Weights are fresh: how long a network takes does not depend on them. Decoding is measured on maps of five people.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.grouping import scene
from benchmarks.timing import medians_by_turns
from lhrnet.decoder.grouping import group
from lhrnet.network import ModelConfig, create_model, deploy
from lhrnet.normalise import normalise
from pipeline.serving.engines import difference, engine_named, engines_here, right
from pipeline.serving.export import PixelForm, to_onnx, with_card
from pipeline.serving.onnx_network import OnnxNetwork, describe
from pipeline.serving.quantise import quantise

R, SIZE = -2, 448
PEER, PEER_SIZE = "efficienthrnet-h-3", 416
REPEATS = 9
Call = Callable[[], object]


def run() -> list[dict[str, object]]:
    """Measure all by turns, so that a busy machine slows each of them."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return [row for count in (1, 2) for row in _rows(count)] + [_decode()]
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


def _rows(threads: int) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        medians = medians_by_turns(dict(_calls(threads)), REPEATS)
    peer = min(value for name, value in medians.items() if name.startswith(PEER))  # in the layout that suits it
    counted = f"{threads} thread{'s' if threads > 1 else ''}"
    return [
        {"name": f"{name}, {counted}", "median": median, "unit": "ms", "ratio": median / peer,
         "notes": f"times {PEER} in torch; network alone, one image"}
        for name, median in medians.items()
    ]  # fmt: skip


def _calls(threads: int) -> Iterator[tuple[str, Call]]:
    """What is measured, by name; pixels to maps."""
    torch.manual_seed(0)
    config = ModelConfig(r=R, input_size=SIZE)
    network = create_model(config).train()
    with torch.no_grad():
        network(torch.randn(2, 3, 128, 128))  # gives batch norm statistics to work with
    network.eval()
    pixels = torch.randint(0, 256, (1, SIZE, SIZE, 3), dtype=torch.uint8)
    form = PixelForm(network)
    own = f"r = {R}, {SIZE} px"
    yield f"{own}, torch", _torch(network, SIZE)
    deployed: torch.nn.Module = deploy(network)
    yield f"{own}, torch, deployed", _torch(deployed, SIZE)
    card = describe(config, size=SIZE, precision="fp32", step=0, sha256="")
    content = with_card(to_onnx(form), card)
    yield f"{own}, onnxruntime fp32", _onnx(content, threads, pixels.numpy())
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    quantised = quantise(content, images)
    yield f"{own}, onnxruntime int8", _onnx(quantised, threads, pixels.numpy())
    for engine in engines_here()[1:]:
        for precision, file in (("fp32", content), ("int8", quantised)):
            if precision == "fp32" or engine == "openvino":
                yield f"{own}, {engine} {precision}", _checked(file, content, engine, threads, pixels.numpy())
    for layout, name in ((torch.contiguous_format, "contiguous"), (torch.channels_last, "channels_last")):
        peer = create_model(ModelConfig(name=PEER)).eval().to(memory_format=layout)  # type: ignore[call-overload]
        yield f"{PEER}, {PEER_SIZE} px, torch, {name}", _torch(peer, PEER_SIZE, layout)


def _torch(network: torch.nn.Module, size: int, layout: torch.memory_format = torch.channels_last) -> Call:
    pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8)
    if layout == torch.channels_last:
        network.to(memory_format=layout)  # type: ignore[call-overload]
    return lambda: network(normalise(pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout)))


def _onnx(content: bytes, threads: int, pixels: NDArray[np.uint8]) -> Call:
    exported = OnnxNetwork(content, threads=threads)
    return lambda: exported.run(pixels)


def _checked(content: bytes, fp32: bytes, engine: str, threads: int, pixels: NDArray[np.uint8]) -> Call:
    """An engine that was seen to compute the file: it is not much further from fp32 than onnxruntime is.

    Raises:
        RuntimeError: it is.
    """
    network, plain = engine_named(content, engine, threads=threads), OnnxNetwork(content, threads=threads)
    wanted = OnnxNetwork(fp32, threads=threads).run(pixels)
    apart, usual = (difference(one.run(pixels), wanted) for one in (network, plain))
    if not right(apart, usual):
        raise RuntimeError(
            f"{engine} is {apart:.2g} standard deviations of a map from fp32, onnxruntime {usual:.2g}: not timed"
        )
    return lambda: network.run(pixels)


def _decode() -> dict[str, object]:
    """The way from maps to people, as `lhrnet predict` goes it, by turns with grouping maps enlarged first."""
    heat, tags = scene(SIZE // 2, 5)
    tags = np.ascontiguousarray(tags[:, ::2, ::2])

    def enlarged(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(maps)[None]
        large = torch.nn.functional.interpolate(batch, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        return np.asarray(large[0])

    torch.set_num_threads(1)
    calls: dict[str, Call] = {
        "small": lambda: group(heat, tags, size=(SIZE, SIZE)),
        "enlarged": lambda: group(enlarged(heat), enlarged(tags[..., 0])[..., None]),
    }
    medians = medians_by_turns(calls, REPEATS)
    return {"name": f"decode, {SIZE} px, 5 people, 1 thread", "median": medians["small"], "unit": "ms",
            "ratio": medians["enlarged"] / medians["small"],
            "notes": "times as fast as enlarging the maps to the input's size first"}  # fmt: skip
