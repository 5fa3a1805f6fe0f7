"""The channel exchange forward and backward on one thread: folded and plain, beside plain transitions."""

import statistics
import time

import torch
from torch import Tensor

from lhrnet.network.exchange import Transitions, exchange
from lhrnet.network.scaling import branch_widths, input_side, tapped_widths

REPEATS = 9
SETTINGS = ((1, torch.contiguous_format), (4, torch.channels_last))
"""Images at once and memory format: one by one as in a simple script, and as in training."""


def run() -> list[dict[str, object]]:
    """Measure the three forms by turns, so that a busy machine slows all of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for r in (-2, 0) for batch, layout in SETTINGS for row in _rows(r, batch, layout)]
    finally:
        torch.set_num_threads(threads)


def _rows(r: int, batch: int, layout: torch.memory_format) -> list[dict[str, object]]:
    maps = _maps(r, batch, layout)
    widths = tapped_widths(r), branch_widths(r)
    forms = {
        "none": exchange(*widths, "none", "plain"),
        "folded": exchange(*widths, "half-reordered", "folded"),
        "plain": exchange(*widths, "half-reordered", "plain"),
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for module in forms.values():
        module.to(memory_format=layout)  # type: ignore[call-overload]
        _step(module, maps)
    for _ in range(REPEATS):
        for name, module in forms.items():
            begun = time.perf_counter()
            _step(module, maps)
            times[name].append((time.perf_counter() - begun) * 1000 / batch)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    kept = {name: _bytes_kept(module, maps) / batch for name, module in forms.items()}
    where = f"r = {r}, {batch} at once{', channels_last' if layout == torch.channels_last else ''}"
    rows: list[dict[str, object]] = []
    for name in forms:
        label = "no exchange" if name == "none" else f"exchange, {name}"
        notes = f"an image; keeps {kept[name] / 1e6:.2f} MB, {kept[name] / kept['none']:.2f} times no exchange"
        aim = "; aim: time 1.35, memory 1.05 times no exchange" if name == "folded" else ""
        ratio = medians[name] / medians["none"]
        rows.append({"name": f"{label}, {where}", "median": medians[name], "unit": "ms", "ratio": ratio,
                     "notes": notes + aim})  # fmt: skip
    return rows


def _maps(r: int, batch: int, layout: torch.memory_format) -> list[Tensor]:
    side = input_side(r)
    return [
        torch.randn(batch, channels, side >> n, side >> n).contiguous(memory_format=layout).requires_grad_()
        for n, channels in enumerate(tapped_widths(r), start=2)
    ]


def _step(module: Transitions, maps: list[Tensor]) -> None:
    outputs = module(maps)
    torch.autograd.grad(outputs, [*maps, *module.parameters()], [torch.ones_like(x) for x in outputs])


def _bytes_kept(module: Transitions, maps: list[Tensor]) -> int:
    """Bytes of the storages that the backward pass needs, each counted once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = module(maps)
    del outputs
    return sum(storages.values())
