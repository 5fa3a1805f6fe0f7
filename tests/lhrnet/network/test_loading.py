"""A backbone loads alone, tells what did not fit, and is never half loaded."""

import pytest
import torch

from lhrnet.network import ModelConfig, create_model, load_backbone

CONFIG = ModelConfig(r=-4)


def test_whole_network_gives_its_backbone_and_leaves_the_rest_alone() -> None:
    source, target = create_model(CONFIG), create_model(CONFIG)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    report = load_backbone(target, {f"module.{key}": value for key, value in source.state_dict().items()})
    assert (report.missing, report.unexpected) == ((), ())
    assert len(report.loaded) == len(source.backbone.state_dict())
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key] if key.startswith("backbone.") else before[key]), key


def test_missing_and_unexpected_keys_are_reported() -> None:
    weights = create_model(CONFIG).backbone.state_dict()
    del weights["stem.conv.weight"]
    weights["classifier.weight"] = torch.zeros(3)
    report = load_backbone(create_model(CONFIG), weights)
    assert report.missing == ("stem.conv.weight",)
    assert report.unexpected == ("classifier.weight",)
    assert "1 missing, 1 unexpected" in str(report)
    assert "classifier.weight" in str(report)


def test_a_file_of_another_network_is_refused() -> None:
    other = create_model(ModelConfig(name="efficienthrnet-h-4")).head.state_dict()
    with pytest.raises(ValueError, match=r"none of the .* lightweight-hrnet"):
        load_backbone(create_model(CONFIG), other)


def test_another_scale_is_refused_and_nothing_is_loaded() -> None:
    target = create_model(CONFIG)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(ValueError, match=r"has shape .* needs"):
        load_backbone(target, create_model(ModelConfig(r=0)).state_dict())
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_what_is_no_tensor_is_refused_by_name() -> None:
    weights = dict(create_model(CONFIG).backbone.state_dict()) | {"stem.conv.weight": [1.0]}
    with pytest.raises(ValueError, match=r"stem\.conv\.weight is a list, not a tensor"):
        load_backbone(create_model(CONFIG), weights)
