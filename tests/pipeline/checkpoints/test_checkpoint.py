"""Checkpoints: whole or not at all, and enough to rebuild their network."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lhrnet.network import ModelConfig, create_model
from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.runs.state import newest
from pipeline.storage import store

MODEL = ModelConfig(r=-4, input_size=64)


def made(step: int = 5, metrics: dict[str, float] | None = None) -> Checkpoint:
    torch.manual_seed(step)
    return Checkpoint(
        url="",
        step=step,
        config={"name": "a", "model": asdict(MODEL)},
        weights=create_model(MODEL).state_dict(),
        metrics=metrics or {},
        training={"cursor": {"epoch": 1, "step": 2}, "random": {"torch": torch.get_rng_state()}},
    )


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = made(metrics={"val/ap": 0.25})
    checkpoint.save(saved, str(tmp_path / "c"))
    loaded = checkpoint.load(str(tmp_path / "c"), training=True)
    assert (loaded.step, loaded.config, loaded.metrics) == (5, saved.config, {"val/ap": 0.25})
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in saved.weights.items())
    assert loaded.training["cursor"] == {"epoch": 1, "step": 2}
    assert len(loaded.sha256) == 64


def test_the_files_names_are_fixed(tmp_path: Path) -> None:
    checkpoint.save(made(), str(tmp_path / "c"))
    assert set(store.listing(str(tmp_path / "c"))) == {
        "config.json",
        "weights.pt",
        "training.pt",
        "metrics.json",
        "manifest.json",
    }


def test_a_checkpoint_alone_rebuilds_its_network_with_its_weights(tmp_path: Path) -> None:
    saved = made()
    checkpoint.save(saved, str(tmp_path / "c"))
    network = checkpoint.build_network(checkpoint.load(str(tmp_path / "c")))
    assert not network.training
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.weights.items())


def test_without_its_manifest_it_is_no_checkpoint(tmp_path: Path) -> None:
    run = str(tmp_path)
    checkpoint.save(made(), checkpoint.step_url(run, 5))
    (Path(checkpoint.step_url(run, 5)) / "manifest.json").unlink()
    assert checkpoint.listing(run) == []
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(run)


def test_a_write_that_breaks_off_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = checkpoint.step_url(str(tmp_path), 5)
    checkpoint.save(made(), url)
    real = store.write_bytes

    def broken(url: str, data: bytes) -> None:
        if url.endswith("training.pt"):
            raise ConnectionError("the store is away")
        real(url, data)

    monkeypatch.setattr(store, "write_bytes", broken)
    with pytest.raises(ConnectionError):
        checkpoint.save(made(step=5), url)
    assert checkpoint.listing(str(tmp_path)) == []


@pytest.mark.parametrize("name", ["weights.pt", "config.json", "metrics.json", "training.pt"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    url = str(tmp_path / "c")
    checkpoint.save(made(), url)
    blob = bytearray((tmp_path / "c" / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (tmp_path / "c" / name).write_bytes(blob)
    with pytest.raises(ValueError, match=f"damaged: {name}"):
        checkpoint.load(url, training=True)


def test_a_run_stands_for_its_best_checkpoint_else_its_newest(tmp_path: Path) -> None:
    run = str(tmp_path)
    for step, metrics in ((10, {}), (20, {"val/ap": 0.5}), (30, {"val/ap": 0.4}), (40, {})):
        checkpoint.save(made(step, metrics), checkpoint.step_url(run, step))
    assert [entry.step for entry in checkpoint.listing(run)] == [10, 20, 30, 40]
    assert checkpoint.load(run).step == 20
    for step in (20, 30):
        checkpoint.remove(checkpoint.step_url(run, step))
    assert checkpoint.load(run).step == 40
    assert not Path(checkpoint.step_url(run, 20)).exists()


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    saved = made()
    other = create_model(ModelConfig(r=-3, input_size=64))
    with pytest.raises(ValueError, match=r"of another network: .* of another shape \(such as .*set the model section"):
        checkpoint.load_weights(other, saved.weights, "s3://somewhere")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"name": "a"}, "has no section 'model'"),
        ({"model": None}, "does not fit this version: model=None: "),
        ({"model": {"r": -9, "input_size": 64}}, "does not fit this version: model=.*r=-9 is out of range"),
        ({"model": {"r": -4, "Cem": "full"}}, "does not fit this version: model.Cem='full': "),
    ],
)
def test_a_config_that_describes_no_network_is_one_line_that_names_the_checkpoint(
    tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    url = str(tmp_path / "c")
    checkpoint.save(replace(made(), config=config), url)
    with pytest.raises(ValueError, match=f"^checkpoint {url}: its config {says}") as error:
        checkpoint.build_network(checkpoint.load(url))
    assert "\n" not in str(error.value)


def test_a_config_that_is_a_list_is_refused_at_once(tmp_path: Path) -> None:
    checkpoint.save(replace(made(), config=[]), str(tmp_path / "c"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="its config is a list"):
        checkpoint.load(str(tmp_path / "c"))


def test_loading_runs_no_code_from_the_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("executed",))

    checkpoint.save(Checkpoint(url="", step=1, config={}, weights={"a": Evil()}), str(tmp_path / "c"))  # type: ignore[dict-item]
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoint.load(str(tmp_path / "c"))


def test_a_checkpoint_that_goes_while_a_run_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path)
    for step in (10, 20):
        checkpoint.save(made(step), checkpoint.step_url(run, step))
    names = store.listing(store.join(run, "checkpoints"))
    checkpoint.remove(checkpoint.step_url(run, 10))
    monkeypatch.setattr(store, "listing", lambda url: names)  # as another process saw them a moment ago
    assert [entry.step for entry in checkpoint.listing(run)] == [20]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"format": 1, "step": 3, "metrics": {}, "files": {}}'])
def test_a_damaged_manifest_is_named_and_passed_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    run = str(tmp_path)
    for step in (10, 20):
        checkpoint.save(Checkpoint(url="", step=step, config={}, weights={}), checkpoint.step_url(run, step))
    damaged = checkpoint.step_url(run, 20)
    (Path(damaged) / "manifest.json").write_bytes(damage)
    assert [entry.step for entry in checkpoint.listing(run)] == [10]
    assert damaged in caplog.text
    with pytest.raises(ValueError, match=f"checkpoint {damaged} is damaged: its manifest"):
        checkpoint.load(damaged)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    run = str(tmp_path)
    assert newest(run) is None
    for step in (10, 20):
        checkpoint.save(Checkpoint(url="", step=step, config={}, weights={}), checkpoint.step_url(run, step))
    (Path(checkpoint.step_url(run, 20)) / "manifest.json").write_bytes(b"")
    found = newest(run)
    assert found
    assert found.step == 10
    (Path(checkpoint.step_url(run, 10)) / "training.pt").write_bytes(b"cut")
    with pytest.raises(ValueError, match=f"{run} cannot be resumed.*delete its folder checkpoints/"):
        newest(run)


@pytest.mark.parametrize("ap", [float("nan"), float("inf"), "best", [0.99], None])
def test_a_manifest_whose_ap_is_no_number_is_not_the_best(tmp_path: Path, ap: object) -> None:
    entries = [
        checkpoint.CheckpointInfo(url="a", step=1, metrics={"val/ap": 0.5}),
        checkpoint.CheckpointInfo(url="b", step=2, metrics={"val/ap": ap}),  # type: ignore[dict-item]
    ]
    assert checkpoint.best(entries).url == "a"
    assert checkpoint.best(entries[1:]).ap == -1.0
