"""What finding a network by its URL promises."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lhrnet.inference import PROTOCOLS
from lhrnet.network import ModelConfig, create_model
from lhrnet.predictor import Predictor
from pipeline.checkpoints import checkpoint
from pipeline.serving.predictor import load_predictor


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with one checkpoint of an untrained network whose people are many."""
    torch.manual_seed(0)
    config = ModelConfig(r=-4, input_size=64)
    network = create_model(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("final0", "final1")):
                parameter.mul_(20)
    folder = tmp_path_factory.mktemp("run")
    saved = checkpoint.Checkpoint(
        url="", step=7, config={"model": dataclasses.asdict(config)}, weights=network.state_dict()
    )
    checkpoint.save(saved, checkpoint.step_url(str(folder), 7))
    return folder


def image(seed: int = 0, size: tuple[int, int] = (70, 90)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_an_image_or_its_file_becomes_people(run: Path, tmp_path: Path) -> None:
    predictor = load_predictor(run)
    assert (predictor.size, predictor.protocol, predictor.network.training) == (64, PROTOCOLS["plain"], False)
    people = predictor(image())
    wanted = Predictor(predictor.network, 64)(image())
    assert len(people) == len(wanted) > 0
    np.testing.assert_array_equal(people[0].keypoints, wanted[0].keypoints)
    cv2.imwrite(str(tmp_path / "photo.png"), image()[..., ::-1])
    np.testing.assert_array_equal(predictor(tmp_path / "photo.png")[0].keypoints, wanted[0].keypoints)
    assert predictor.timings.images == 2


def test_size_and_protocol_are_chosen(run: Path) -> None:
    predictor = load_predictor(str(run), protocol="flip", size=128)
    people = predictor(image())
    assert people[0].tag is not None
    assert people[0].tag.shape == (2,)
    np.testing.assert_array_equal(people[0].keypoints, Predictor(predictor.network, 128, "flip")(image())[0].keypoints)


def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain, flip, multi-scale"):
        load_predictor(str(run), protocol="best")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_predictor(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        load_predictor(str(run))("none.jpg")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(run: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"device is '{device}'; there are here: auto, cpu"):
        load_predictor(run, device=device)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is 'cuda'"):
            load_predictor(run, device="cuda")


def test_a_registered_model_needs_a_server_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="set MLFLOW_TRACKING_URI"):
        load_predictor("models:/lightweight-hrnet@champion")
    assert not list(tmp_path.iterdir())
