"""What the parts train: networks by name with their stepper, and batches of noise with plausible people."""

from typing import Any

import torch

from benchmarks.gpu.parts import Setup
from lhrnet.losses.pose_loss import LossConfig
from lhrnet.network import ModelConfig, create_model
from pipeline.cluster.world import World
from pipeline.data.order import Cursor
from pipeline.data.stream import Batch
from pipeline.training.optimiser import OptimConfig
from pipeline.training.step_plan import TrainConfig, plan_steps
from pipeline.training.stepper import Stepper

MANY = 1_000_000
"""Steps of a run that is not meant to end."""


def noise_batch(images: int, side: int, device: torch.device, *, people: int = 3, seed: int = 0) -> Batch:
    """A batch on the device: noise, and `people` labelled people an image, their joints around random centres."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, side, side, 3), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)
    joints = torch.zeros(images, 30, 17, 3)
    centre = torch.rand(images, people, 1, 2, generator=random) * side
    spread = torch.randn(images, people, 17, 2, generator=random) * side / 8
    joints[:, :people, :, :2] = (centre + spread).clamp(0, side - 1)
    joints[:, :people, :, 2] = 2
    mask = torch.ones(images, side // 2, side // 2, dtype=torch.uint8)
    ids = torch.arange(images)
    return Batch(pixels.to(device), joints.to(device), mask.to(device), ids, Cursor())


def new_stepper(
    model: ModelConfig,
    setup: Setup,
    *,
    batch: int,
    steps: int = MANY,
    world: World | None = None,
    optim: OptimConfig | None = None,
    **train: Any,
) -> Stepper:
    """A network with random weights on the device and what trains it, by the settings that train from scratch."""
    world = world or World(device=setup.device)
    settings = TrainConfig(global_batch=batch, steps=steps, workers=world.size, **train)
    torch.manual_seed(0)
    network = create_model(model).to(world.device)
    return Stepper(
        network,
        train=settings,
        optim=optim or OptimConfig(),
        loss=LossConfig(),
        plan=plan_steps(settings, steps_per_epoch=1, world=world.size),
        world=world,
    )


def peak_memory(device: torch.device) -> float | None:
    """GiB that the allocator has given out at most since the last call; None on the CPU."""
    if device.type != "cuda":
        return None
    most: int = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return most / 2**30
