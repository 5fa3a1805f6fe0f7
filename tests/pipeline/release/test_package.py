"""A model's package is written whole, or the disk's error says where."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lhrnet.network.config import ModelConfig
from lhrnet.network.registry import create_model
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.release import package


def test_a_package_that_the_disk_does_not_take_says_where(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    weights = create_model(ModelConfig(r=-4, input_size=64)).state_dict()
    model = Checkpoint(url="u", step=1, config={"model": {"r": -4, "input_size": 64}}, weights=weights)
    with full_disk(5000), pytest.raises(OSError, match=rf"{tmp_path}") as told:
        package.write(tmp_path / "model", model, size=64, protocol="plain", min_score=None, card="")
    assert told.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert list(tmp_path.rglob("*")) == []
