"""What normalising promises."""

import pytest
import torch

from lhrnet.normalise import MEAN, STD, normalise


def test_normalise_is_the_usual_formula_and_keeps_the_memory_format() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    found = normalise(images)
    torch.testing.assert_close(found, (images / 255 - mean) / std)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert normalise(images, torch.bfloat16).dtype == torch.bfloat16


def test_normalise_refuses_floats_and_grey() -> None:
    with pytest.raises(ValueError, match="float32"):
        normalise(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 4\)"):
        normalise(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
