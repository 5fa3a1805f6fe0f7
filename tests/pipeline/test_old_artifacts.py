"""What an earlier version wrote is read: checkpoints, shards, a search's records, a registered model, their configs."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.stored_config import current, current_key
from pipeline.config.tree import Config, parse
from pipeline.data.index import read_index
from pipeline.data.stream import TrainStream
from pipeline.release import package
from pipeline.runs.loop import Trainer
from pipeline.search.record import TrialRecords
from pipeline.search.trial import record_config, search_url, trial_name
from pipeline.search.tuner import check_unchanged

ARCHIVE = Path(__file__).resolve().parent.parent / "artifacts" / "old.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the archive; addresses in its configs are relative to it."""
    place = tmp_path_factory.mktemp("artifacts")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    return place / "old"


@pytest.fixture
def there(old: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working directory."""
    monkeypatch.chdir(old)
    return old


@pytest.fixture
def expected(old: Path) -> dict[str, Any]:
    return dict(json.loads((old / "expected.json").read_text()))


def _values_that_were_set(config: Config) -> None:
    """Settings whose value was not the default's: one that is lost on the way is seen."""
    assert config.model.r == -4
    assert (config.augment.min_scale, config.augment.max_scale, config.augment.rotation) == (0.9, 1.15, 5.0)
    assert (config.gate.min_ap, config.gate.min_gain) == (0.1, 0.002)
    assert (config.gate.max_params, config.gate.max_macs, config.gate.max_latency_ms) == (10**7, 10**12, 5000.0)
    assert (config.gate.max_keypoint_loss, config.gate.max_size_loss) == (0.06, 0.04)
    assert (config.loss.push, config.loss.positive_weight) == ("hinge", 10.0)
    # stored as 0.05 * (2 * pull + 0.5 * push)
    assert (config.loss.tag_weight, config.loss.push_weight) == (0.1, 0.25)
    assert config.optim.ema_decay == 0.9
    assert config.train.checkpoint_every == 2


def test_a_checkpoint_gives_the_network_that_it_gave(there: Path, expected: dict[str, Any]) -> None:
    loaded = checkpoints.load("runs/first")
    assert (loaded.step, loaded.sha256) == (2, expected["checkpoint_sha256"])
    _values_that_were_set(parse(loaded.config))
    network = checkpoints.build_network(loaded)
    image = torch.arange(3 * 64 * 64).reshape(1, 3, 64, 64) % 97 / 97
    with torch.no_grad():
        outputs = network(image)
    for output, (shape, mean, spread) in zip(outputs, expected["outputs"], strict=True):
        assert list(output.shape) == shape
        assert float(output.double().mean()) == pytest.approx(mean, rel=1e-3)
        assert float(output.double().std()) == pytest.approx(spread, rel=1e-3)


def test_a_run_goes_on_from_its_checkpoint(there: Path) -> None:
    config = parse(checkpoints.load("runs/first").config)
    outcome = Trainer(config).run()
    assert (outcome.resumed_from, outcome.steps, outcome.finished) == (2, 4, True)


def test_shards_are_read(there: Path) -> None:
    index = read_index("shards/train2017")
    assert (index.images, len(index.shards)) == (4, 4)
    config = parse(checkpoints.load("runs/first").config)
    stream = TrainStream(
        config.data.train,
        stream=config.stream,
        augment=config.augment,
        size=64,
        global_batch=2,
        rank=0,
        world=1,
        seed=0,
    )
    batch = next(iter(stream.batches()))
    assert batch.images.shape == (2, 3, 64, 64)
    assert (batch.joints[..., 2] > 0).any()


def test_a_search_goes_on_with_its_records(there: Path) -> None:
    tree = yaml.safe_load(Path("runs/search/search/config.yaml").read_text())
    config = parse(current(tree))
    records = TrialRecords.read(search_url(config))
    check_unchanged(config, records)
    ended = [(record.state, round(record.ap, 2)) for record in records.in_order()]
    assert ended == [("finished", 0.2), ("finished", 0.21), ("pruned", 0.22), ("failed", -1)]
    for record in records.in_order():
        # its name is made of its setting: another name would be another trial, and run again
        assert trial_name(config.name, record.setting, record.seed) == record.name
        trial = record_config(config.tree(), record)
        assert trial is not None
        assert trial.augment.max_scale == (1.15 if record.order < 2 else 1.3)


def test_the_package_of_a_registered_model_is_whole_and_gives_its_checkpoint(
    there: Path, expected: dict[str, Any]
) -> None:
    model = package.read(Path("model"), sha256=expected["manifest_sha256"], name="version 1")
    assert model.sha256 == expected["checkpoint_sha256"]
    _values_that_were_set(parse(model.config))
    checkpoints.build_network(model)


def test_a_registered_model_predicts_by_the_code_that_it_carries(there: Path, tmp_path: Path) -> None:
    program = f"""
import mlflow, numpy
model = mlflow.pyfunc.load_model({str(there / "model")!r})
import lhrnet
assert "model" in lhrnet.__file__, lhrnet.__file__
(people,) = model.unwrap_python_model().find([numpy.full((64, 80, 3), 127, numpy.uint8)])
assert isinstance(people, list)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["version-config.json", "runs/first/config.yaml"])
def test_a_config_that_was_stored_apart_is_read(there: Path, file: str) -> None:
    _values_that_were_set(parse(current(yaml.safe_load(Path(file).read_text()))))


def test_a_resumed_run_has_the_parameters_that_mlflow_keeps_of_it(there: Path) -> None:
    parameters = json.loads(Path("params.json").read_text())
    now = parse(checkpoints.load("runs/first").config).flat()
    assert len(parameters) > 100
    names = {key: current_key(key) for key in parameters}
    kept = {key: name for key, name in names.items() if name is not None}
    del kept["loss.tag_weight"], kept["loss.push_weight"]  # the weight of pull is in them now
    assert {key: str(now[name]) for key, name in kept.items()} == {key: parameters[key] for key in kept}
