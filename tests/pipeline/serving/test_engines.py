"""Whatever engine runs an exported network, it computes what onnxruntime does, and the fastest one is told."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from lhrnet.network import ModelConfig, create_model
from pipeline.cluster.processor import processor_name
from pipeline.serving.engines import (
    ENGINES,
    Measured,
    difference,
    engine_named,
    engines_here,
    fastest,
    measure,
)
from pipeline.serving.export import PixelForm, to_onnx, with_card, with_engine
from pipeline.serving.onnx_network import OnnxNetwork, describe
from pipeline.serving.quantise import quantise


def drawn(count: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """(count, height, width, 3) of smooth noise."""
    draws = np.random.default_rng(seed)
    noise = draws.integers(0, 256, (count, height // 4, width // 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (width, height)) for image in noise])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    torch.manual_seed(0)
    config = ModelConfig(r=-4, input_size=64, bn_momentum=1.0)
    network = create_model(config)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # batch norm's statistics: without, maps grow beyond bounds
    card = describe(config, size=64, precision="fp32", step=3, sha256="ab")
    fp32 = with_card(to_onnx(PixelForm(network.eval())), card)
    return {"fp32": fp32, "int8": quantise(fp32, list(drawn(6, 64, 64)))}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_is_no_further_from_fp32_than_onnxruntime_at_any_size(files: dict[str, bytes], precision: str) -> None:
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    exact, plain = (OnnxNetwork(files[name], threads=1) for name in ("fp32", precision))
    network = engine_named(files[precision], "openvino", threads=1)
    assert network.card == plain.card
    for count, width, height in ((1, 64, 64), (2, 96, 64), (1, 64, 64)):
        pixels = drawn(count, width, height, seed=9)
        wanted, found = exact.run(pixels), network.run(pixels)
        assert [maps.shape for maps in found] == [maps.shape for maps in wanted]
        assert difference(found, wanted) <= max(1.2 * difference(plain.run(pixels), wanted), 1e-4)


def test_engines_that_are_not_there_are_named(files: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"engine is 'tensorrt'.*onnxruntime, openvino"):
        engine_named(files["fp32"], "tensorrt")
    if engines_here() == [ENGINES[0]]:
        with pytest.raises(RuntimeError, match=r"pip install 'lightweight-hrnet\[openvino\]'"):
            engine_named(files["fp32"], "openvino")
    elif "openvino-bf16" not in engines_here():
        with pytest.raises(ValueError, match="does not compute in bf16"):
            engine_named(files["fp32"], "openvino-bf16")


def test_the_fastest_engine_here_stands_in_the_card(files: dict[str, bytes]) -> None:
    measured = measure(files["fp32"], files["fp32"], threads=1)
    assert list(measured) == engines_here()
    assert all(one.milliseconds > 0 for one in measured.values())
    assert measured["onnxruntime"].apart == 0
    before, card = OnnxNetwork(files["fp32"]).card, OnnxNetwork(with_engine(files["fp32"], measured)).card
    assert card.engine == min(measured, key=lambda name: measured[name].milliseconds)
    assert dataclasses.replace(card, engine="", processor="") == before
    assert card.processor == processor_name() != ""


def test_an_engine_that_computes_something_else_is_never_the_fastest() -> None:
    measured = {
        "onnxruntime": Measured(milliseconds=60, apart=0.04),
        "openvino": Measured(milliseconds=40, apart=0.9),
        "openvino-bf16": Measured(milliseconds=50, apart=0.03),
    }
    assert fastest(measured) == "openvino-bf16"
