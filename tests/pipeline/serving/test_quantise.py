"""An int8 network finds what the fp32 one finds, nearly, and is smaller; what is missing is named."""

from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from lhrnet.network import ModelConfig, create_model
from pipeline.serving.export import PixelForm, to_onnx, with_card
from pipeline.serving.onnx_network import OnnxNetwork, describe
from pipeline.serving.quantise import calibration_images, ends, quantise


@pytest.fixture(scope="module")
def exported() -> bytes:
    torch.manual_seed(0)
    config = ModelConfig(r=-4, input_size=64, bn_momentum=1.0)
    network = create_model(config)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # batch norm's statistics: without, maps grow beyond bounds
    card = describe(config, size=64, precision="fp32", step=3, sha256="ab")
    return with_card(to_onnx(PixelForm(network.eval())), card)


def photos(count: int, seed: int = 0) -> list[np.ndarray]:
    draws = np.random.default_rng(seed)
    noise = draws.integers(0, 256, (count, 60, 80, 3), dtype=np.uint8)
    return [np.asarray(cv2.GaussianBlur(image, (7, 7), 0)) for image in noise]


def test_maps_stay_near_and_the_file_gets_smaller(exported: bytes) -> None:
    seen: list[int] = []
    small = quantise(exported, photos(6), on_image=seen.append)
    assert sum(seen) == 6
    assert len(small) < 0.5 * len(exported)
    before, after = OnnxNetwork(exported), OnnxNetwork(small)
    assert (before.card.precision, after.card.precision, after.card.step) == ("fp32", "int8", 3)
    for size, count in (((64, 64), 1), ((160, 96), 2)):
        pixels = np.stack([np.asarray(cv2.resize(photo, size)) for photo in photos(count, seed=9)])
        for name, wanted, found in zip(("heat", "tags"), before.run(pixels), after.run(pixels), strict=True):
            assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.9, name


def test_the_ends_stay_in_fp32_and_the_rest_does_not(exported: bytes) -> None:
    graph = onnx.load_from_string(exported).graph
    kept = set(ends(graph))
    kinds = {node.name: node.op_type for node in graph.node}
    assert sum(kinds[name] == "Conv" for name in kept) == 2
    small = onnx.load_from_string(quantise(exported, photos(2)))
    weights = {tensor.name: tensor.data_type for tensor in small.graph.initializer}
    given = [weights.get(node.input[1]) for node in small.graph.node if node.op_type == "Conv"]
    assert given.count(onnx.TensorProto.FLOAT) == 2
    steps = [node for node in small.graph.node if node.op_type == "DequantizeLinear"]
    per_channel = [n for n in steps if weights.get(n.input[0]) == onnx.TensorProto.INT8]
    assert len(per_channel) >= len(given) - 2


def test_images_come_from_shards_or_a_folder(drawn_shards: Path, drawn_coco: Path, tmp_path: Path) -> None:
    shards = list(calibration_images(f"{drawn_shards}/val2017", 3))
    folder = list(calibration_images(str(drawn_coco / "val2017"), 5))
    assert (len(shards), len(folder)) == (3, 5)
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in chain(shards, folder))
    with pytest.raises(FileNotFoundError, match="holds no image"):
        next(calibration_images(str(tmp_path), 3))


def test_what_cannot_be_quantised_is_named(exported: bytes) -> None:
    with pytest.raises(ValueError, match="no image"):
        quantise(exported, [])
    with pytest.raises(ValueError, match="int8 already"):
        quantise(quantise(exported, photos(1)), photos(1))
