"""What only a CUDA device can show. `pytest -m gpu tests/gpu --noconftest` needs none of the cluster's packages."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lhrnet.coco import K
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.losses.pose_loss import LossConfig, pose_loss
from lhrnet.losses.targets import render_heatmaps
from lhrnet.network import ModelConfig, create_model
from pipeline.cluster.world import World
from pipeline.data.order import Cursor
from pipeline.data.prefetch import feed
from pipeline.data.stream import Batch
from pipeline.training.optimiser import OptimConfig
from pipeline.training.step_plan import TrainConfig, plan_steps
from pipeline.training.stepper import Stepper

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
SIDE = 64


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever waits for the device raises."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def people(images: int, seed: int = 0) -> torch.Tensor:
    """(B, 30, 17, 3) joints, some off the image, some not labelled."""
    random = torch.Generator().manual_seed(seed)
    joints = torch.zeros(images, 30, K, 3)
    joints[:, :5, :, :2] = torch.rand(images, 5, K, 2, generator=random) * SIDE * 1.2 - 6
    joints[:, :5, :, 2] = torch.randint(0, 3, (images, 5, K), generator=random).float()
    return joints


def batch_of(images: int, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, SIDE, SIDE, 3), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)
    mask = torch.ones(images, SIDE // 2, SIDE // 2, dtype=torch.uint8)
    return Batch(pixels.cuda(), people(images, seed).cuda(), mask.cuda(), torch.arange(images), Cursor())


def stepper(**train: object) -> Stepper:
    settings = TrainConfig(global_batch=4, steps=100, **train)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return Stepper(
        create_model(ModelConfig(r=-4, input_size=SIDE)).cuda(),
        train=settings,
        optim=OptimConfig(),
        loss=LossConfig(),
        plan=plan_steps(settings, steps_per_epoch=9, world=1),
        world=World(device=torch.device("cuda")),
    )


def test_batches_arrive_in_order_on_the_device() -> None:
    def batches() -> Iterator[Batch]:
        for n in range(5):
            images = torch.full((2, 3, 8, 8), n, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
            yield Batch(images, torch.zeros(2, 30, 17, 3), torch.ones(2, 4, 4), torch.arange(2), Cursor(0, n))
        raise ValueError("the shard is damaged")

    arrived = feed(batches(), torch.device("cuda"))
    for n in range(5):
        batch = next(arrived)
        assert batch.images.is_cuda
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.images == n).all()
    with pytest.raises(ValueError, match="damaged"):
        next(arrived)


def test_grouping_finds_the_people_that_the_cpu_finds() -> None:
    random = torch.Generator().manual_seed(0)
    blur = torch.nn.functional.avg_pool2d
    heat = blur(torch.rand((4, K, 24, 32), generator=random) ** 3, 3, 1, 1)
    tags = blur(torch.randn((4, 2 * K, 24, 32), generator=random) * 6, 5, 1, 2).view(4, K, 2, 24, 32)
    for ours, cpus in zip(group_on_device(heat.cuda(), tags.cuda()), group_on_device(heat, tags), strict=True):
        np.testing.assert_allclose(ours.keypoints, cpus.keypoints, atol=1e-5)
        np.testing.assert_allclose(ours.tags, cpus.tags, atol=1e-5)
        np.testing.assert_allclose(ours.scores, cpus.scores, atol=1e-6)


@pytest.mark.parametrize("centre", ["floor", "subpixel"])
def test_targets_are_the_cpus(centre: str) -> None:
    joints = people(3) / 2
    found = render_heatmaps(joints.cuda(), (32, 32), 2.0, centre)  # type: ignore[arg-type]
    torch.testing.assert_close(found.cpu(), render_heatmaps(joints, (32, 32), 2.0, centre))  # type: ignore[arg-type]


def test_the_loss_and_its_gradient_wait_for_nothing() -> None:
    outputs = tuple(torch.randn(2, 34, side, side, device="cuda", requires_grad=True) for side in (16, 32))
    joints, mask = people(2).cuda(), torch.ones(2, 32, 32, dtype=torch.uint8, device="cuda")
    for mode in ("default", "error"):  # the first round may set the device up
        torch.cuda.set_sync_debug_mode(mode)
        try:
            pose_loss((outputs[0], outputs[1]), joints, mask, LossConfig()).total.backward()  # type: ignore[no-untyped-call]
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_whole_step_waits_for_nothing() -> None:
    training, batch = stepper(), batch_of(4)
    for number, mode in enumerate(("default", "default", "error")):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            training.step(batch, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert training.take_rows()["skipped_steps"] == 0


def test_steps_in_bf16_lower_the_loss() -> None:
    training, batch = stepper(), batch_of(4)
    losses = []
    for _ in range(3):
        for number in range(10):
            training.step(batch, 10 + number)
        losses.append(training.take_rows()["loss"])
    assert losses[2] < losses[0]
