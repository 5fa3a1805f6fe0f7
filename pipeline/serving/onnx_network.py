"""An exported network run by onnxruntime, and the metadata of its file."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from lhrnet.inference import PixelNetwork
from lhrnet.network.config import ModelConfig, check_short_side, check_size
from pipeline.checkpoints.stored_config import current_model
from pipeline.storage import store

METADATA = "lightweight-hrnet"
"""Key of the file's metadata under which `Card` stands as JSON."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Card:
    """Metadata of an exported file: all that is needed to use it."""

    model: ModelConfig
    """The network's settings."""
    size: int
    """Short side of the input in pixels that it is made for."""
    precision: str
    """fp32 or int8."""
    keypoints: tuple[str, ...]
    """Their names, in the order of the maps."""
    normalisation: str
    """What happens to pixels inside the graph."""
    version: str
    """Version of this project that wrote the file."""
    step: int
    """Training steps behind the weights."""
    sha256: str
    """Of the weights' checkpoint, or empty for a registered model."""
    min_score: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Score below which people are rather nobody, as an evaluation found it; None where that is not known."""
    engine: str = ""
    """What ran the file fastest on the machine that exported it, of what was installed there; empty: not measured."""
    processor: str = ""
    """That machine's CPU."""
    format: int = FORMAT

    def to_json(self) -> str:
        """As it stands in the file."""
        return TypeAdapter(Card).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read and check.

        Raises:
            ValueError: it is of another format, incomplete, or of a size that no network has.
        """
        try:
            tree = json.loads(text)
        except RecursionError:
            raise ValueError("its metadata are nested too deeply") from None
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else None
            raise ValueError(f"its metadata has format {found!r}; this version reads {FORMAT}")
        if isinstance(tree.get("model"), dict):
            tree["model"] = current_model(tree["model"])
        card = TypeAdapter(cls).validate_python(tree)
        check_short_side(card.size)
        if card.keypoints != card.model.keypoints.keypoints:
            raise ValueError(f"it names {len(card.keypoints)} keypoints and its network has other ones")
        return card


class OnnxNetwork(PixelNetwork):
    """An exported network, run by onnxruntime on the CPU.

    Args:
        content: the file's bytes.
        name: for error messages.
        threads: to compute with; 0: one for each core.

    Raises:
        ValueError: it is not a network that `lhrnet export` wrote.
        RuntimeError: onnxruntime is not installed.
    """

    def __init__(self, content: bytes, name: str = "the file", *, threads: int = 0) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise RuntimeError(
                "a .onnx file needs onnxruntime, which is not installed: pip install 'lightweight-hrnet[export]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.card = Card.from_json(self.session.get_modelmeta().custom_metadata_map[METADATA])
        except KeyError:
            raise ValueError(f"{name} is no network of this project's: make one with `lhrnet export`") from None
        except ValidationError as error:
            raise ValueError(f"{name}: its metadata are damaged: {error.errors()[0]['msg']}; export it again") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}; export it again") from None
        except Exception as error:  # onnxruntime's own errors have no common class
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            line = str(error).splitlines()[0]
            raise ValueError(f"{name} cannot be read as ONNX ({line}); export it again") from error
        self.skeleton = self.card.model.keypoints
        self.eval()

    @classmethod
    def load(cls, url: str, *, threads: int = 0) -> Self:
        """Read a file at any storage URL.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not a network that `lhrnet export` wrote.
        """
        return cls(store.read_bytes(url), url, threads=threads)

    def forward(self, pixels_BHW3: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, H/2, W/2) and tags (B, K, H/4, W/4) of RGB bytes (B, H, W, 3)."""
        heat, tags = self.run(pixels_BHW3.numpy())
        return torch.from_numpy(heat), torch.from_numpy(tags)

    def run(self, pixels_BHW3: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same without torch.

        Raises:
            ValueError: there is no image, or H or W is not a multiple of 32.
        """
        if not len(pixels_BHW3):
            raise ValueError("a batch of 0 images cannot be run: give at least one")
        check_size(*pixels_BHW3.shape[1:3])
        heat, tags = self.session.run(["heat", "tags"], {"images": np.ascontiguousarray(pixels_BHW3)})
        return heat, tags


def is_onnx(url: str) -> bool:
    """Whether an address names an exported network rather than a checkpoint."""
    return store.last_name(url).lower().endswith(".onnx")


def describe(
    model: ModelConfig, *, size: int, precision: str, step: int, sha256: str, min_score: float | None = None
) -> Card:
    """The card of a network of this version."""
    from lhrnet import __version__
    from lhrnet.normalise import MEAN, STD

    return Card(
        model=model,
        size=size,
        precision=precision,
        keypoints=model.keypoints.keypoints,
        normalisation=f"(RGB / 255 - {list(MEAN)}) / {list(STD)}, inside the graph",
        version=__version__,
        step=step,
        sha256=sha256,
        min_score=min_score,
    )


def card_tree(card: Card) -> dict[str, Any]:
    """The card as JSON-ready values."""
    tree: dict[str, Any] = json.loads(card.to_json())
    return tree
