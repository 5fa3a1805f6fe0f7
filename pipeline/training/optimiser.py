"""The optimiser, its learning rate as a pure function of the step, and the moving average of the weights."""

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass as section
from torch import Tensor, nn

from pipeline import SECTION


@section(frozen=True, kw_only=True, config=SECTION)
class OptimConfig:
    """What turns gradients into weights."""

    name: Literal["adam", "adamw"] = "adamw"
    """`adamw` decouples the weight decay from the gradient; `adam` is the reference's."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-2
    """Highest learning rate, reached at the end of the warm-up."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """Weight decay, on every parameter."""
    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    """What follows the warm-up."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps in which the learning rate climbs linearly from lr/25 to lr."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (2 / 3, 13 / 15)
    """`multistep`: shares of all steps at which the rate is multiplied by gamma (here epochs 200 and 260 of 300)."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`multistep`: the factor at each milestone."""
    grad_clip: NonNegativeFloat = 5.0
    """The norm of the whole gradient is at most this, larger ones are scaled down to it; 0: no limit."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay of the moving average of the weights, which is what is evaluated and exported; 0 keeps none."""

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones is {self.milestones}; allowed: shares of all steps in rising order")


def learning_rate(step: int, total: int, config: OptimConfig) -> float:
    """The learning rate of one step.

    Args:
        step: steps already done, 0 for the first.
        total: steps of the whole run.
    """
    warm = round(config.warmup * total)
    if step < warm:
        return config.lr * (1 + 24 * step / warm) / 25
    if config.schedule == "cosine":
        done = (step - warm) / max(1, total - warm)
        return config.lr * (1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * min(1.0, done))) / 2)
    if config.schedule == "multistep":
        passed: int = sum(step >= round(share * total) for share in config.milestones)
        return float(config.lr * config.gamma**passed)
    return config.lr


def create_optimiser(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.Optimizer:
    """A fused Adam or AdamW. Fused, because only the fused kernels can skip a step without asking the device."""
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(list(parameters), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = lr


class MovingAverage:
    """Exponential moving average of every parameter and floating-point buffer of a network.

    Early on the decay is (1 + n) / (10 + n) after n updates, so that the random start is forgotten quickly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = floats(network)
        self.average = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self._network = network

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network's present state."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = [tensor.detach() for tensor in self._live.values()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - decay)
        self.updates += 1

    def weights(self) -> dict[str, Tensor]:
        """A state dict for the network: averages where there are any, its own counters elsewhere."""
        return {name: self.average.get(name, tensor) for name, tensor in self._network.state_dict().items()}

    def load(self, weights: dict[str, Tensor], updates: int) -> None:
        """Take up the averages and the count of updates of a checkpoint."""
        for name, tensor in self.average.items():
            tensor.copy_(weights[name])
        self.updates = updates


def floats(network: nn.Module) -> dict[str, Tensor]:
    """The network's parameters and buffers that can be averaged, by their names in its state dict."""
    return {name: tensor for name, tensor in network.state_dict(keep_vars=True).items() if tensor.is_floating_point()}
