"""A run in one process: learning, exact resuming, skipped steps, notices."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lhrnet.normalise import normalise
from pipeline.checkpoints import checkpoint
from pipeline.config.tree import Config, parse
from pipeline.evaluation.validate import validate
from pipeline.runs.loop import Outcome, Trainer
from pipeline.training import stepper


def config_of(shards: Path, runs: Path, name: str = "a", **train: Any) -> Config:
    few = {"steps": 6, "global_batch": 4, "checkpoint_every": 3, "log_every": 2, "validate_images": 4}
    return parse(
        {
            "name": name,
            "storage": str(runs),
            "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
            "model": {"r": -4, "input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "train": few | train,
            "tracking": {"enabled": False},
        }
    )


def state_of(outcome: Outcome) -> dict[str, Any]:
    loaded = checkpoint.load(
        checkpoint.step_url(outcome.checkpoint.split("/checkpoints/")[0], outcome.steps), training=True
    )
    return {"weights": dict(loaded.weights), "training": dict(loaded.training)}


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        unequal = [key for key in one.keys() | other.keys() if not equal(one.get(key), other.get(key))]
        if unequal:
            print("unequal:", unequal[:5])
        return not unequal
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def undisturbed(drawn_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Trainer(config_of(drawn_shards, tmp_path_factory.mktemp("runs"), "undisturbed")).run()


def after(steps: int) -> Any:
    """A `stop` that says yes from the so-manieth step on."""
    calls = itertools.count(1)
    return lambda: next(calls) >= steps


def test_a_run_ends_with_a_whole_checkpoint_and_its_figures(undisturbed: Outcome) -> None:
    assert (undisturbed.steps, undisturbed.images, undisturbed.finished) == (6, 24, True)
    assert undisturbed.resumed_from == 0
    assert 0 <= undisturbed.metrics["val/ap"] <= 1
    assert undisturbed.images_per_second > 0
    loaded = checkpoint.load(undisturbed.checkpoint)
    assert loaded.metrics == undisturbed.metrics
    checkpoint.build_network(loaded)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_broken_off_and_resumed_it_ends_in_the_same_bits(
    undisturbed: Outcome, drawn_shards: Path, tmp_path: Path, at: int
) -> None:
    config = config_of(drawn_shards, tmp_path)
    left = Trainer(config).run(after(at))
    assert (left.finished, left.steps) == (False, at)
    torch.manual_seed(99)
    resumed = Trainer(config).run()
    assert (resumed.resumed_from, resumed.steps, resumed.finished) == (at, 6, True)
    assert equal(state_of(resumed), state_of(undisturbed))


def test_killed_it_repeats_only_the_steps_since_the_last_checkpoint(
    undisturbed: Outcome, drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(drawn_shards, tmp_path)
    real = stepper.Stepper.step

    def killed(self: stepper.Stepper, batch: Any, number: int) -> None:
        if number == 5:
            raise KeyboardInterrupt
        real(self, batch, number)

    monkeypatch.setattr(stepper.Stepper, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).run()
    monkeypatch.setattr(stepper.Stepper, "step", real)
    resumed = Trainer(config).run()
    assert resumed.resumed_from == 3
    assert equal(state_of(resumed), state_of(undisturbed))


def test_a_damaged_newest_checkpoint_costs_the_way_back_to_the_one_before(
    undisturbed: Outcome, drawn_shards: Path, tmp_path: Path
) -> None:
    config = config_of(drawn_shards, tmp_path, checkpoint_every=2)
    Trainer(config).run(after(4))
    (Path(checkpoint.step_url(config.run_url, 4)) / "training.pt").write_bytes(b"cut")
    resumed = Trainer(config).run()
    assert resumed.resumed_from == 2
    assert equal(state_of(resumed)["weights"], state_of(undisturbed)["weights"])


def test_a_finished_run_is_left_as_it_is(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path, steps=1)
    first = Trainer(config).run()
    again = Trainer(config).run()
    assert (again.resumed_from, again.steps, again.checkpoint) == (1, 1, first.checkpoint)
    assert again.metrics == first.metrics


def test_accumulated_steps_have_the_gradient_of_the_whole_batch(drawn_shards: Path, tmp_path: Path) -> None:
    norms = {}
    for micro in (0, 1):
        config = config_of(drawn_shards, tmp_path, f"m{micro}", micro_batch=micro, precision="fp32")
        run = Trainer(config)
        run.stepper.network.eval()  # batch statistics are those of a micro-batch, and no part of this
        batch = next(run.stream.batches())
        run.stepper._backward(batch)
        norms[micro] = [p.grad.clone() for p in run.stepper.parameters if p.grad is not None]
    worst = max((a - b).abs().max() for a, b in zip(norms[0], norms[1], strict=True))
    assert worst < 1e-5


def test_steps_that_are_not_finite_change_nothing_and_are_counted(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(drawn_shards, tmp_path)
    run = Trainer(config)
    batch = next(run.stream.batches())
    run.stepper.step(batch, 0)
    before = {name: tensor.clone() for name, tensor in run.stepper.network.state_dict().items()}
    monkeypatch.setattr(stepper, "normalise", lambda images: normalise(images) * float("nan"))
    run.stepper.step(batch, 1)
    monkeypatch.setattr(stepper, "normalise", normalise)
    after = run.stepper.network.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert all(name.endswith("num_batches_tracked") for name in changed)
    run.stepper.step(batch, 2)
    rows = run.stepper.take_rows()
    assert rows["skipped_steps"] == 1
    assert all(value == value for value in rows.values())
    assert all(tensor.isfinite().all() for tensor in run.stepper.network.state_dict().values())


def test_the_moving_average_is_what_is_validated_and_exported(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path)
    run = Trainer(config)
    outcome = run.run()
    exported = checkpoint.load(outcome.checkpoint)
    assert run.stepper.average is not None
    assert equal(dict(exported.weights), run.stepper.average.weights())
    assert not equal(dict(exported.weights), run.stepper.network.state_dict())
    network = checkpoint.build_network(exported)
    found = validate(network, config.data.val, size=config.model.side, protocol=config.evaluate.protocol, limit=4)
    assert found is not None
    figures = {f"val/{name}": value for name, value in found.scores.as_dict().items()}
    assert {**figures, checkpoint.THRESHOLD: found.threshold} == {checkpoint.THRESHOLD: None, **outcome.metrics}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_compiled_run_is_compiled_and_learns_the_same(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    losses = []
    for compiled in (False, True):
        run = Trainer(config_of(drawn_shards, tmp_path, f"c{compiled}".lower(), compile=compiled, precision="fp32"))
        batches = run.stream.batches()
        for number in range(2):
            run.stepper.step(next(batches), number)
        losses.append(run.stepper.take_rows()["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_run_that_is_to_be_compiled_and_is_not_ends(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path, steps=1, log_every=1, compile=True)
    torch._dynamo.utils.counters.clear()
    with (
        torch.compiler.set_stance("force_eager"),
        pytest.raises(stepper.HopelessError, match=r"torch\.compile compiled nothing"),
    ):
        Trainer(config).run()


def test_too_many_steps_in_a_row_end_the_run(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepper, "normalise", lambda images: normalise(images) * float("nan"))
    with pytest.raises(RuntimeError, match="2 steps in a row had a gradient that is not finite"):
        Trainer(config_of(drawn_shards, tmp_path, max_nonfinite=2)).run()


def test_a_checkpoint_of_another_network_is_refused(drawn_shards: Path, tmp_path: Path) -> None:
    Trainer(config_of(drawn_shards, tmp_path, steps=1)).run()
    other = parse(config_of(drawn_shards, tmp_path, steps=2).tree() | {"model": {"r": -3, "input_size": 64}})
    with pytest.raises(ValueError, match="of another network"):
        Trainer(other).run()


def test_a_new_run_starts_from_the_weights_it_is_given(drawn_shards: Path, tmp_path: Path) -> None:
    first = Trainer(config_of(drawn_shards, tmp_path, steps=1)).run()
    config = config_of(drawn_shards, tmp_path, "b", steps=1, init_from=first.checkpoint)
    run = Trainer(config)
    weights = checkpoint.load(first.checkpoint).weights
    assert all(torch.equal(t, weights[name]) for name, t in run.stepper.network.state_dict().items())


def test_frozen_parts_stay_to_the_bit_statistics_included(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path, steps=2, freeze=("backbone",))
    run = Trainer(config)
    before = {name: tensor.clone() for name, tensor in run.stepper.network.state_dict().items()}
    run.run()
    after = run.stepper.network.state_dict()
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert [name for name in before if name.startswith("backbone") and name not in same] == []
    assert [name for name in before if not name.startswith("backbone") and name in same and "weight" in name] == []


def test_freezing_nothing_is_an_error_that_names_what_there_is(drawn_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no parameter's name begins with 'nosuch'; they begin with .*"):
        Trainer(config_of(drawn_shards, tmp_path, freeze=("nosuch",))).run()


def test_leaving_where_a_validation_was_due_claims_no_figures(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path, steps=12, validate_every=0.25, checkpoint_every=100)
    left = Trainer(config).run(after(6))
    figures = {entry.step: dict(entry.metrics) for entry in checkpoint.listing(config.run_url)}
    assert left.steps == 6
    assert figures[3]["val/ap"] >= 0
    assert figures[6] == {}
    resumed = Trainer(config)
    resumed.resume()
    assert resumed.metrics == figures[3], "what was last seen is still known"


def test_reports_come_with_every_validation(drawn_shards: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    Trainer(config_of(drawn_shards, tmp_path, steps=12, validate_every=0.5), report=seen.append).run()
    assert [row["step"] for row in seen] == [6, 12]
    assert all(0 <= row["ap"] <= 1 for row in seen)
