"""A new run starts from what its config names, or says in one line why it cannot."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from lhrnet.network import ModelConfig, create_model
from pipeline.config.tree import parse
from pipeline.runs.driver import check_network
from pipeline.runs.initial_weights import start_from
from pipeline.training.step_plan import TrainConfig

MODEL = ModelConfig(r=-4)


def file_of(tmp_path: Path, value: Any) -> str:
    torch.save(value, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.mark.parametrize("wrapped", ["", "state_dict", "model"])
def test_a_backbone_is_taken_and_the_head_stays_random(tmp_path: Path, wrapped: str) -> None:
    given = create_model(MODEL).backbone.state_dict()
    url = file_of(tmp_path, {wrapped: given, "epoch": 7} if wrapped else given)
    network = create_model(MODEL)
    head = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
    start_from(network, TrainConfig(backbone_from=url))
    assert all(torch.equal(tensor, given[name]) for name, tensor in network.backbone.state_dict().items())
    assert all(torch.equal(tensor, head[name]) for name, tensor in network.head.state_dict().items())


def test_what_a_file_lacks_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = create_model(MODEL).backbone.state_dict()
    del given["stem.conv.weight"]
    with caplog.at_level(logging.WARNING):
        start_from(create_model(MODEL), TrainConfig(backbone_from=file_of(tmp_path, given)))
    assert "stem.conv.weight" in caplog.text
    assert "keeps random weights" in caplog.text


class Evil:
    def __reduce__(self) -> Any:
        return print, ("opened",)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Evil(), "no file of tensors that can be loaded safely"),
        ([1, 2], "holds a list, not weights by name"),
        ({"a": torch.zeros(2)}, "none of the 1 weights belongs to the backbone"),
        (create_model(ModelConfig(r=0)).state_dict(), "has shape"),
    ],
    ids=["a pickle", "a list", "another network", "another scale"],
)
def test_a_file_that_is_no_such_backbone_is_refused_before_the_start(
    tmp_path: Path, value: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = file_of(tmp_path, value)
    data = {"train": "/nowhere", "val": "/nowhere"}
    tree = {
        "name": "a",
        "storage": str(tmp_path),
        "data": data,
        "model": asdict(MODEL),
        "train": {"backbone_from": url},
    }
    with pytest.raises(ValueError, match=says) as refused:
        check_network(parse(tree))
    assert str(refused.value).startswith(f"train.backbone_from={url}: ")
    assert "opened" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [b"", b"hello world\n", b"<!DOCTYPE html><html>404</html>", b"\x80\x02}q\x00(X\x01\x00", b"PK\x03\x04"],
    ids=["empty", "text", "a page", "half a pickle", "half an archive"],
)
def test_a_file_of_anything_else_is_no_file_of_weights(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"backbone_from=.*: it is no file of tensors that can be .* \(.+\)$"):
        start_from(create_model(MODEL), TrainConfig(backbone_from=str(file)))


def test_nothing_there_and_two_origins_at_once_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from(create_model(MODEL), TrainConfig(backbone_from=str(tmp_path / "nowhere.pth")))
    with pytest.raises(ValueError, match=r"init_from is a and backbone_from b; allowed: one of the two"):
        TrainConfig(init_from="a", backbone_from="b")
