"""What a run's settings come to in steps and images."""

import pytest

from pipeline.training.step_plan import TrainConfig, plan_steps, usable_workers


def test_steps_or_epochs_give_the_length() -> None:
    assert plan_steps(TrainConfig(steps=70), steps_per_epoch=10, world=1).total == 70
    assert plan_steps(TrainConfig(epochs=2.5), steps_per_epoch=10, world=1).total == 25
    assert plan_steps(TrainConfig(), steps_per_epoch=10.4, world=1).total == 10


def test_both_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 1 and epochs 2"):
        TrainConfig(steps=1, epochs=2)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("micro", [0, 1, 5, 16, 100])
def test_all_workers_passes_make_the_global_batch(world: int, micro: int) -> None:
    plan = plan_steps(TrainConfig(global_batch=32, workers=4, micro_batch=micro), steps_per_epoch=9, world=world)
    sizes = [len(range(plan.local_batch)[number :: plan.passes]) for number in range(plan.passes)]
    assert sum(sizes) * world == 32
    assert max(sizes) <= (micro or 32)
    assert max(sizes) - min(sizes) <= 1


def test_the_same_images_meet_in_a_pass_on_any_number_of_workers() -> None:
    groups = []
    for world in (1, 2, 4):
        plan = plan_steps(TrainConfig(global_batch=32, workers=4, micro_batch=4), steps_per_epoch=9, world=world)
        shares = [range(rank, 32, world) for rank in range(world)]
        groups.append({tuple(share[number :: plan.passes]) for share in shares for number in range(plan.passes)})
    assert groups[0] == groups[1] == groups[2]


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="16 cannot be divided among 3 workers"):
        plan_steps(TrainConfig(global_batch=16), steps_per_epoch=9, world=3)


def test_the_end_is_validated_and_every_validation_saved() -> None:
    plan = plan_steps(TrainConfig(steps=100, validate_every=3.0, checkpoint_every=40), steps_per_epoch=10.4, world=1)
    assert sorted(plan.validate_at) == [31, 62, 93, 100]
    assert sorted(plan.checkpoint_at) == [31, 40, 62, 80, 93, 100]


def test_zero_validates_at_the_end_only() -> None:
    plan = plan_steps(TrainConfig(steps=100, validate_every=0), steps_per_epoch=10, world=1)
    assert plan.validate_at == {100}


@pytest.mark.parametrize(("available", "used"), [(8, 8), (7, 6), (5, 4), (3, 3), (1, 1)])
def test_of_the_workers_there_as_many_work_as_divide_batch_and_lanes(available: int, used: int) -> None:
    assert usable_workers(available, global_batch=192, lanes=192, loader_workers=8) == used


def test_loaders_count_as_readers_of_lanes() -> None:
    assert usable_workers(4, global_batch=16, lanes=16, loader_workers=8) == 2
