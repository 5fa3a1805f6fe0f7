"""Pictures of what a network makes of fixed images."""

from pathlib import Path

import numpy as np
import torch

from lhrnet.network import ModelConfig, create_model
from pipeline.evaluation.pictures import fixed_samples, picture_grid


def test_a_grid_shows_three_pictures_an_image(drawn_shards: Path) -> None:
    samples = fixed_samples(str(drawn_shards / "val2017"), 3)
    torch.manual_seed(0)
    network = create_model(ModelConfig(r=-4, input_size=64)).eval()
    grid = picture_grid(network, samples, size=64)
    assert grid.dtype == np.uint8
    cell = max(sample.height for sample in samples)
    assert grid.shape[0] > 3 * cell
    assert grid.shape[1] > 3 * 64
    assert len(np.unique(grid.reshape(-1, 3), axis=0)) > 100


def test_the_same_images_every_time(drawn_shards: Path) -> None:
    first, again = (fixed_samples(str(drawn_shards / "val2017"), 4) for _ in range(2))
    assert [sample.image_id for sample in first] == [sample.image_id for sample in again]
    assert len(first) == 4
