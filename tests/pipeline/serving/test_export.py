"""An exported network computes what torch does, at any size, and says of itself all that its users need."""

import dataclasses
import json
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from lhrnet.coco import KEYPOINTS
from lhrnet.draw import MIN_SCORE
from lhrnet.network import ModelConfig, create_model
from pipeline.checkpoints import checkpoint
from pipeline.serving.export import PixelForm, check_against_torch, export, to_onnx, with_card, write_onnx
from pipeline.serving.onnx_network import METADATA, Card, OnnxNetwork, describe
from pipeline.serving.page.server import settings
from pipeline.serving.predictor import load_predictor

MODEL = ModelConfig(r=-4, input_size=64)


def save(folder: Path, config: ModelConfig = MODEL) -> str:
    """A run's folder with one checkpoint of an untrained network that sees people everywhere."""
    torch.manual_seed(0)
    network = create_model(config)
    bias = network.head.final1.bias
    assert bias is not None
    with torch.no_grad():
        bias[:17] += 1
    saved = checkpoint.Checkpoint(
        url="", step=7, config={"model": dataclasses.asdict(config)}, weights=network.state_dict()
    )
    checkpoint.save(saved, checkpoint.step_url(str(folder), 7))
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def file(run: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("exported") / "network.onnx")
    write_onnx(export(run).content, path)
    return path


def image(seed: int = 0, size: tuple[int, int] = (70, 90)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("protocol", ["plain", "flip", "multi-scale"])
def test_people_are_those_that_torch_finds(run: str, file: str, protocol: str) -> None:
    images = [image(0), image(1, (90, 70)), image(2, (64, 200))]
    wanted = load_predictor(run, protocol=protocol, device="cpu").many(images)
    exported = load_predictor(file, protocol=protocol)
    assert (exported.size, exported.device) == (64, "cpu")
    found = exported.many(images)
    assert [len(people) for people in found] == [len(people) for people in wanted]
    assert sum(map(len, found)) > 0
    for mine, theirs in zip(chain(*found), chain(*wanted), strict=True):
        np.testing.assert_allclose(mine.keypoints, theirs.keypoints, atol=1e-2)
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(r=-4, cem="none", input_size=64),
        ModelConfig(r=-4, cem="full", exchange="plain", input_size=64),
        ModelConfig(name="efficienthrnet-h-4", input_size=64),
    ],
    ids=lambda config: f"{config.name}-{config.cem}",
)
def test_every_kind_of_network_is_exported(config: ModelConfig) -> None:
    torch.manual_seed(0)
    form = PixelForm(create_model(config).eval())
    exported = export_form(form)
    for shape in ((3, 96, 32), (1, 128, 224)):
        pixels = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = form(pixels)
        for mine, theirs in zip(exported(pixels), wanted, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_a_file_with_settings_that_its_network_ignored_is_read() -> None:
    from pipeline.serving.onnx_network import describe

    card = describe(ModelConfig(name="efficienthrnet-h-4"), size=64, precision="fp32", step=1, sha256="")
    tree = json.loads(card.to_json())
    tree["model"] |= {"r": -4, "cem": "none"}
    assert Card.from_json(json.dumps(tree)) == card


def export_form(form: PixelForm) -> OnnxNetwork:
    from pipeline.serving.onnx_network import describe

    card = describe(MODEL, size=64, precision="fp32", step=0, sha256="")
    return OnnxNetwork(with_card(to_onnx(form), card))


def test_the_file_says_what_it_is(run: str, file: str) -> None:
    card = OnnxNetwork.load(file).card
    saved = checkpoint.load(run)
    assert (card.model, card.size, card.step, card.sha256) == (MODEL, 64, 7, saved.sha256)
    assert (card.precision, card.keypoints) == ("fp32", KEYPOINTS)
    assert "0.485" in card.normalisation
    assert card.version
    assert OnnxNetwork(export(run, size=100).content).card.size == 100


def test_the_threshold_of_scores_travels_with_the_checkpoint_and_the_file(tmp_path: Path) -> None:
    network = create_model(MODEL)
    for known, (metrics, wanted) in enumerate(
        [
            ({"val/ap": 0.1, checkpoint.THRESHOLD: 0.45}, 0.45),
            ({"val/ap": 0.1}, MIN_SCORE),
            ({checkpoint.THRESHOLD: float("nan")}, MIN_SCORE),
        ]
    ):
        saved = checkpoint.Checkpoint(
            url="", step=1, config={"model": dataclasses.asdict(MODEL)}, weights=network.state_dict(), metrics=metrics
        )
        run = str(tmp_path / f"run-{known}")
        checkpoint.save(saved, checkpoint.step_url(run, 1))
        assert load_predictor(run).min_score == wanted
        file = f"{run}/network.onnx"
        write_onnx(export(run).content, file)
        assert load_predictor(file).min_score == wanted
        assert settings(OnnxNetwork.load(file).card)["drawing"]["min_score"] == wanted


def test_a_card_with_a_threshold_that_is_none_is_refused_and_one_without_is_read() -> None:
    card = describe(MODEL, size=64, precision="fp32", step=0, sha256="", min_score=0.3)
    tree = json.loads(card.to_json())
    assert Card.from_json(json.dumps(tree)).min_score == 0.3
    for wrong in (-1, 0, float("inf"), "much"):
        with pytest.raises(ValueError, match="min_score"):
            Card.from_json(json.dumps(tree | {"min_score": wrong}))
    del tree["min_score"]
    assert Card.from_json(json.dumps(tree)).min_score is None


def test_a_file_that_computes_something_else_is_not_let_through(run: str) -> None:
    exported = export(run)
    model = onnx.load_from_string(exported.content)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = bytes(len(weight.raw_data))
    with pytest.raises(RuntimeError, match="differ from torch"):
        check_against_torch(model.SerializeToString(), exported.form, 64)


def test_what_is_no_exported_network_is_named(run: str, file: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(Path(file).read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be read as ONNX"):
        load_predictor(str(broken))
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        load_predictor(str(tmp_path / "none.onnx"))
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(ValueError, match="no network of this project"):
        OnnxNetwork.load(str(tmp_path / "strange.onnx"))
    onnx.helper.set_model_props(model, {METADATA: '{"format": 1}'})
    with pytest.raises(ValueError, match="metadata are damaged"):
        OnnxNetwork(model.SerializeToString(), "it")
    onnx.helper.set_model_props(model, {METADATA: '{"format": 9}'})
    with pytest.raises(ValueError, match="format 9"):
        OnnxNetwork(model.SerializeToString(), "it")
    with pytest.raises(ValueError, match="runs on the CPU"):
        load_predictor(file, device="cuda")
    with pytest.raises(ValueError, match="exported already"):
        export(file)
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        write_onnx(b"", str(tmp_path / "network.pt"))
    with pytest.raises(ValueError, match="multiples of 32"):
        OnnxNetwork.load(file).run(np.zeros((1, 48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="a batch of 0 images"):
        OnnxNetwork.load(file).run(np.zeros((0, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="a size of 0 is not allowed"):
        export(str(tmp_path), size=0)
    with pytest.raises(ValueError, match="metadata are nested too deeply"):
        Card.from_json("[" * 100_000)


def test_weights_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = create_model(MODEL).state_dict()
    weights["head.final0.bias"][0] = float("nan")
    saved = checkpoint.Checkpoint(url="", step=1, config={"model": dataclasses.asdict(MODEL)}, weights=weights)
    checkpoint.save(saved, checkpoint.step_url(str(tmp_path / "run"), 1))
    with pytest.raises(ValueError, match=r"weights that are not finite \(1, such as head\.final0\.bias\)"):
        export(str(tmp_path / "run"))
