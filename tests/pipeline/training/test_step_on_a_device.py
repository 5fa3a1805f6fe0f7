"""What makes a step fast on a GPU and shows without one: no waiting, one order of memory, one compilation."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch._dynamo  # before anything of torch is replaced
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lhrnet.losses.pose_loss import REFERENCE, LossConfig, pose_loss
from lhrnet.network import ModelConfig, create_model
from pipeline.cluster.world import World
from pipeline.data.order import Cursor
from pipeline.data.prefetch import to_device
from pipeline.data.stream import Batch
from pipeline.training.optimiser import OptimConfig
from pipeline.training.step_plan import TrainConfig, plan_steps
from pipeline.training.stepper import Stepper

SIDE = 64
WAITING_OPERATORS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "bincount")
WAITING_METHODS = ("cpu", "numpy", "tolist", "item", "__bool__", "__float__", "__int__", "__index__")
COPYING_FROM_THE_HOST = ("__setitem__", "tensor", "as_tensor", "from_numpy")


def batch_of(images: int, people: int = 3, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, SIDE, SIDE, 3), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)
    joints = torch.zeros(images, 30, 17, 3)
    joints[:, :people, :, :2] = torch.rand(images, people, 17, 2, generator=random) * SIDE
    joints[:, :people, :, 2] = 2
    mask = torch.ones(images, SIDE // 2, SIDE // 2, dtype=torch.uint8)
    return Batch(pixels, joints, mask, torch.arange(images), Cursor())


def stepper(model: ModelConfig = ModelConfig(r=-4, input_size=SIDE), **train: Any) -> Stepper:  # noqa: B008 - a value
    settings = TrainConfig(global_batch=4, steps=100, **train)
    torch.manual_seed(0)
    return Stepper(
        create_model(model),
        train=settings,
        optim=OptimConfig(),
        loss=LossConfig(),
        plan=plan_steps(settings, steps_per_epoch=9, world=1),
        world=World(),
    )


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators whose result the host must have before it goes on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.all: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        self.all[name] += 1
        by_mask = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if name in WAITING_OPERATORS or by_mask:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


class Asks(TorchFunctionMode):
    """Counts methods that bring a value to or from the host; on the CPU some of them reach no operator."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in WAITING_METHODS + COPYING_FROM_THE_HOST:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def waits(work: Callable[[], Any]) -> dict[str, int]:
    with Waits() as operators, Asks() as methods:
        work()
    return dict(operators.seen + methods.seen)


@pytest.fixture
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets are rendered the way they are on a GPU; on the CPU the host looks at the joints to save work."""
    monkeypatch.setattr("lhrnet.losses.targets.torch.compiler.is_compiling", lambda: True)


@pytest.mark.usefixtures("as_on_a_device")
@pytest.mark.parametrize("passes", [1, 2])
def test_a_step_asks_the_device_for_nothing(passes: int) -> None:
    training, batch = stepper(micro_batch=4 // passes), batch_of(4)
    training.step(batch, 0)
    assert waits(lambda: training.step(batch, 1)) == {}
    assert waits(training.take_rows) != {}, "the count sees what does wait"


def test_what_waits_is_counted() -> None:
    x = torch.randn(4)

    def assign() -> None:
        x[-1] = 1

    for wait in (lambda: x[x > 0], lambda: x.sum().item(), lambda: bool(x.sum()), x.cpu, x.nonzero, assign):
        assert waits(wait), wait


NETWORKS = [
    ModelConfig(r=-4, input_size=SIDE),
    ModelConfig(r=-4, input_size=SIDE, exchange="plain"),
    ModelConfig(name="efficienthrnet-h-2", input_size=SIDE),
    ModelConfig(name="higherhrnet-w32", input_size=SIDE),
]


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: f"{model.name}-{model.exchange}")
def test_memory_keeps_its_order_through_the_network_and_back(model: ModelConfig) -> None:
    training, batch = stepper(model, precision="fp32"), batch_of(2)
    network, astray = training.network, []

    def ordered(x: Tensor, what: str) -> None:
        if not x.is_contiguous(memory_format=torch.channels_last):
            astray.append(f"{what}: {tuple(x.shape)} with strides {x.stride()}")

    def watch(name: str) -> Any:
        def look(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            ordered(inputs[0], f"{name}'s input")
            assert output.grad_fn is not None
            if not name.startswith("head.final"):  # the losses' own gradients come map by map
                output.grad_fn.register_prehook(lambda gradients: ordered(gradients[0], f"{name}'s gradient"))

        return look

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.register_forward_hook(watch(name))
    training._backward(batch)
    assert astray == []


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(
    "config",
    [LossConfig(), REFERENCE, LossConfig(tags_at_half=True)],
    ids=lambda config: f"{config.push}-{config.tags_at_half}",
)
def test_targets_and_losses_are_one_graph_for_any_number_of_people(config: LossConfig) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(pose_loss, backend=backend, fullgraph=True)
    for people in (0, 1, 5, 30):
        batch = batch_of(2, people=people)
        maps = [torch.randn(2, 34, side, side, requires_grad=True) for side in (16, 32)]
        found = compiled((maps[0], maps[1]), batch.joints, batch.mask, config)
        wanted = pose_loss((maps[0], maps[1]), batch.joints, batch.mask, config)
        torch.testing.assert_close(tuple(found), tuple(wanted))
    assert len(graphs) == 1


@pytest.mark.usefixtures("fresh_compiler")
def test_steps_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: compile(*args, **{**options, "backend": backend}))
    training = stepper(compile=True)
    training.network.compile(backend=backend)
    training.step(batch_of(4), 0)
    first = len(graphs)
    for number, people in enumerate((1, 7, 0, 30)):
        training.step(batch_of(4, people=people, seed=number), 1 + number)
    assert len(graphs) == first
    assert 2 <= first <= 3, "the network, and targets and losses together"


def test_batches_are_pinned_and_copied_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []
    copied: list[tuple[int, bool]] = []
    to = Tensor.to

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor.data_ptr())
        return tensor

    def note(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        copied.append((tensor.data_ptr(), options.get("non_blocking", False)))
        return to(tensor, *args, **options)

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", note)
    batch = batch_of(2)
    to_device(batch, torch.device("cpu"))
    assert pinned == [x.data_ptr() for x in (batch.images, batch.joints, batch.mask)]
    assert copied == [(address, True) for address in pinned]


def test_the_update_is_one_fused_operator() -> None:
    training = stepper()
    training._backward(batch_of(4))
    with Waits() as operators:
        training.optimiser.step()
    assert operators.all["_fused_adamw_"] == 1
