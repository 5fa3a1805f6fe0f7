"""An exported network run by OpenVINO, which is faster than onnxruntime on many Intel CPUs.

OpenVINO 2026.4.1 computes int8 files wrongly while their sizes are open. So a network is compiled for each batch and
size that it meets, and the last few are kept.
"""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lhrnet.inference import PixelNetwork
from lhrnet.network.config import check_size
from pipeline.serving.onnx_network import OnnxNetwork

KEPT = 4
"""How many batches and sizes a network stays compiled for."""
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""What OpenVINO calls the precision of that which is not int8."""


class OpenVinoNetwork(PixelNetwork):
    """An exported network, run by OpenVINO on the CPU.

    Args:
        content: the file's bytes.
        name: for error messages.
        precision: fp32, or bf16, of all that is not int8.
        threads: to compute with; 0: one for each core.

    Raises:
        ValueError: it is not a network that `lhrnet export` wrote, or this CPU does not compute in bf16.
        RuntimeError: OpenVINO or onnxruntime is not installed.
    """

    def __init__(self, content: bytes, name: str = "the file", *, precision: str = "fp32", threads: int = 0) -> None:
        super().__init__()
        self.card = OnnxNetwork(content, name, threads=1).card
        if precision not in HINTS:
            raise ValueError(f"precision is {precision!r}; allowed: {', '.join(HINTS)}")
        if precision == "bf16" and "BF16" not in capabilities():
            raise ValueError("this CPU does not compute in bf16; leave it to fp32")
        self._core = _core()
        self._content = content
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.eval()

    def forward(self, pixels_BHW3: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, 17, H/2, W/2) and tags (B, 17, H/4, W/4) of RGB bytes (B, H, W, 3)."""
        heat, tags = self.run(pixels_BHW3.numpy())
        return torch.from_numpy(heat), torch.from_numpy(tags)

    def run(self, pixels_BHW3: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same without torch.

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        check_size(*pixels_BHW3.shape[1:3])
        request = self._request(pixels_BHW3.shape)
        request.infer({"images": np.ascontiguousarray(pixels_BHW3)})
        heat, tags = (request.get_tensor(name).data.copy() for name in ("heat", "tags"))
        return heat, tags

    def _request(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for this shape of its input."""
        if shape not in self._compiled:
            model = self._core.read_model(model=self._content)
            model.reshape(list(shape))
            self._compiled[shape] = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return self._compiled[shape]


def capabilities() -> list[str]:
    """What OpenVINO says that this CPU computes in: FP32, INT8, BF16 and more.

    Raises:
        RuntimeError: OpenVINO is not installed.
    """
    found: list[str] = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise RuntimeError(
            "this engine needs OpenVINO, which is not installed: pip install 'lightweight-hrnet[openvino]'"
        ) from error
    return openvino.Core()
