"""An exported network in int8: a quarter of the size, and faster on CPUs with int8 instructions.

onnxruntime's static quantisation: weights per output channel, activations by their ranges on calibration images. The
last layers stay in fp32, because heatmaps and tags need more than 8 bits: so int8 cost 0.006 AP of 0.201, with them in
int8 too 0.026 (r = −4 at 192 px, on the COCO images it was trained on; weights of 8 bits, on a CPU with VNNI).

Weights have 7 bits: on CPUs without VNNI the sums of 8-bit ones overflow in silence. What the correlation of the
heatmaps with fp32's lacks to 1, of a small random network: 0.0042 with 8 bits and 0.0017 with 7 on such a CPU, 0.0010
and 0.0019 in exact arithmetic, as VNNI has it.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhrnet.image_file import read_image
from lhrnet.inference import fit_input
from pipeline.data.index import INDEX, read_index
from pipeline.data.samples import read_samples
from pipeline.serving.export import need_onnx, with_card
from pipeline.serving.onnx_network import OnnxNetwork
from pipeline.serving.sources import image_files
from pipeline.storage import store
from pipeline.storage.atomic import named_errors

Image = NDArray[np.uint8]


def calibration_images(url: str, count: int) -> Iterator[Image]:
    """Calibration images: the first `count` of a split's shards, or of a local folder sorted by name.

    Raises:
        FileNotFoundError: there are neither shards nor images.
    """
    if store.exists(store.join(url, INDEX)):
        for sample in read_samples(url, index=read_index(url), limit=count):
            yield sample.image
        return
    if not store.is_local(url):
        raise FileNotFoundError(f"no shards at {url}; give a split's shards or a local folder of images")
    for path in image_files([url])[:count]:
        yield read_image(path)


def quantise(
    content: bytes,
    images: Iterable[Image],
    *,
    on_image: Callable[[int], object] = lambda count: None,
) -> bytes:
    """Quantise an exported fp32 network to int8.

    Args:
        content: the exported file.
        images: RGB, for calibration; about a hundred like those it will be used on.
        on_image: called with 1 after each image.

    Raises:
        ValueError: the file is int8 already, or there is no image.
        RuntimeError: the `export` extra is not installed.
    """
    onnx = need_onnx()
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    card = OnnxNetwork(content).card
    if card.precision != "fp32":
        raise ValueError(f"the network is {card.precision} already; quantise the fp32 one")
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise ValueError("there is no image to calibrate with")
    reader = _Reader(chain([first], images), card.size, on_image)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime warns that a step is missing which was done
    try:
        with tempfile.TemporaryDirectory() as name, named_errors(f"{name} (TMPDIR)"):
            folder = Path(name)
            (folder / "given.onnx").write_bytes(content)
            quant_pre_process(str(folder / "given.onnx"), str(folder / "ready.onnx"), skip_symbolic_shape=True)
            graph = onnx.load(folder / "ready.onnx").graph
            quantize_static(
                str(folder / "ready.onnx"),
                str(folder / "int8.onnx"),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=ends(graph),
            )
            quantised = (folder / "int8.onnx").read_bytes()
    finally:
        root.setLevel(level)
    return with_card(quantised, replace(card, precision="int8"))


def ends(graph: Any) -> list[str]:
    """Names of the nodes before the first convolutions and from the last convolutions to the outputs; kept in fp32."""
    made_by = {output: node for node in graph.node for output in node.output}
    used_by: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)
    found: dict[str, None] = {}
    front = [node for tensor in graph.input for node in used_by.get(tensor.name, ())]
    while front:
        node = front.pop()
        if node.op_type != "Conv" and node.name not in found:
            found[node.name] = None
            front += [after for output in node.output for after in used_by.get(output, ())]
    back = [made_by[tensor.name] for tensor in graph.output]
    while back:
        node = back.pop()
        if node.name not in found:
            found[node.name] = None
            if node.op_type != "Conv":
                back += [made_by[name] for name in node.input if name in made_by]
    return list(found)


class _Reader:
    """Gives images to the calibrator one by one, resized as for a prediction."""

    def __init__(self, images: Iterable[Image], size: int, on_image: Callable[[int], object]) -> None:
        self._images = iter(images)
        self._size = size
        self._on_image = on_image

    def get_next(self) -> dict[str, Image] | None:
        image = next(self._images, None)
        if image is None:
            return None
        self._on_image(1)
        return {"images": fit_input(image, self._size)[None]}
