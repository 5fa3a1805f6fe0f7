"""How long a run is and what each worker does in a step: settings, and plain arithmetic over them."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as section

from pipeline import SECTION


@section(frozen=True, kw_only=True, config=SECTION)
class TrainConfig:
    """The training loop: how many images, on what, how often it looks up from its work."""

    global_batch: PositiveInt = field(default=16, metadata={"order": True})
    """Images a step over all workers together; the number of workers changes nothing about it."""
    steps: PositiveInt | None = None
    """Length of the run in steps; give either this or epochs."""
    epochs: PositiveFloat | None = None
    """Length of the run in passes over the training split; give either this or steps. Neither: 1 epoch."""
    workers: PositiveInt = 1
    """Processes that train side by side, one device each. Must divide global_batch and the stream's lanes."""
    min_workers: PositiveInt | None = field(default=None, metadata={"result": False})
    """Elastic: go on with as few as this many workers when nodes are lost, of which as many have work as divide
    global_batch and the lanes. Empty: always exactly `workers`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where the worker has one."""
    cpus_per_worker: PositiveFloat = field(default=1.0, metadata={"result": False})
    """CPUs that a worker reserves in the cluster."""
    threads: NonNegativeInt = field(default=1, metadata={"result": False})
    """Threads a worker computes with; 0 leaves it to torch."""
    micro_batch: NonNegativeInt = 0
    """A worker passes at most this many images through the network at once; the rest is accumulated. 0: all of its
    share. Batch norm sees one pass: set this to a divisor of every worker's share, and a run on another number of
    workers is the same."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """`bf16`: autocast in the network; losses are fp32 either way."""
    channels_last: bool = True
    """Keep images and weights in the NHWC order of memory, which convolutions on CPU and GPU prefer."""
    compile: bool = False
    """Compile the network and its losses with torch.compile. An error where the compiler does not work."""
    sync_batchnorm: bool = False
    """Batch-norm statistics over all workers instead of each its own. GPU only."""
    freeze: tuple[str, ...] = ()
    """Parameters whose names begin with one of these are not trained."""
    init_from: str = ""
    """URL of a checkpoint, or models:/NAME@champion, whose weights a new run starts from; empty: random weights."""
    backbone_from: str = ""
    """URL of a file of PyTorch weights, of a backbone or a whole network of the same form, whose backbone a new run
    starts from: the reference's starts from ImageNet's. Empty: random weights."""
    max_nonfinite: PositiveInt = field(default=20, metadata={"result": False})
    """Steps in a row with a loss or gradient that is not finite (each is skipped) after which the run is ended."""
    max_failures: NonNegativeInt = field(default=3, metadata={"result": False})
    """How many times lost workers are replaced before the run is ended."""
    storage_patience: NonNegativeFloat = field(default=600.0, metadata={"result": False})
    """Seconds that a run waits for a store that went away while it was on."""
    log_every: PositiveInt = field(default=10, metadata={"result": False})
    """Steps between two rows of metrics."""
    resume_changed: bool = field(default=False, metadata={"result": False})
    """Go on from the run's checkpoint though its model, loss or data were set otherwise."""
    checkpoint_every: PositiveInt = field(default=250, metadata={"result": False})
    """Steps between two checkpoints: the most that a failure can cost."""
    validate_every: NonNegativeFloat = field(default=1.0, metadata={"result": False})
    """Epochs between two validations; 0: only at the end."""
    validate_images: NonNegativeInt = 0
    """Images a validation scores, the first of the split; 0: all."""
    pictures: NonNegativeInt = field(default=6, metadata={"result": False})
    """Images of the validation split that every validation draws with people, heatmaps and tags; 0: none."""
    keep_best: PositiveInt = field(default=2, metadata={"result": False})
    """Checkpoints kept for their AP, besides the last two."""

    def __post_init__(self) -> None:
        if self.init_from and self.backbone_from:
            raise ValueError(
                f"init_from is {self.init_from} and backbone_from {self.backbone_from}; allowed: one of the two"
            )
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"steps is {self.steps} and epochs {self.epochs}; allowed: one of the two")
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers is {self.min_workers}; allowed: at most workers ({self.workers})")
        if self.global_batch % self.workers:
            raise ValueError(f"global_batch is {self.global_batch}; allowed: multiples of workers ({self.workers})")


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """What follows from the settings, the data and the number of workers that are there."""

    total: int
    """Steps of the whole run."""
    local_batch: int
    """Images a worker takes of each step's global batch."""
    passes: int
    """Passes through the network within a step, of equal size where they divide the share. Pass i takes every
    `passes`-th image from the i-th on: on any number of workers the same images meet in a pass."""
    validate_at: frozenset[int]
    """Numbers of finished steps at which the network is validated."""
    checkpoint_at: frozenset[int]
    """Numbers of finished steps at which the state is saved."""


def usable_workers(available: int, *, global_batch: int, lanes: int, loader_workers: int) -> int:
    """Most of the workers that are there among which a step's images and the stream's lanes can be divided."""
    fit = (n for n in range(available, 0, -1) if global_batch % n == 0 and lanes % (n * max(1, loader_workers)) == 0)
    return next(fit, 1)


def plan_steps(config: TrainConfig, *, steps_per_epoch: float, world: int) -> StepPlan:
    """Derive the plan of a run.

    Args:
        config: the settings.
        steps_per_epoch: global batches in one pass over the training split.
        world: workers that take part.

    Raises:
        ValueError: the global batch cannot be divided among the workers.
    """
    if config.global_batch % world:
        raise ValueError(f"train.global_batch {config.global_batch} cannot be divided among {world} workers")
    local = config.global_batch // world
    micro = min(local, config.micro_batch or local)
    passes = -(-local // micro)
    total = config.steps or max(1, round((config.epochs or 1.0) * steps_per_epoch))
    between = max(1, round(config.validate_every * steps_per_epoch)) if config.validate_every else total
    validate = frozenset({*range(between, total, between), total})
    save = frozenset({*range(config.checkpoint_every, total, config.checkpoint_every), *validate})
    return StepPlan(total=total, local_batch=local, passes=passes, validate_at=validate, checkpoint_at=save)
