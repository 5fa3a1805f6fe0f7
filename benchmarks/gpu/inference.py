"""Inference: the network alone, and a whole prediction from images to people, grouping on the device included."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.limit import Limit, time_calls
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.scenes import wait_for
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.decoder.grouping import group_batch
from lhrnet.inference import batch_maps, from_pixels
from lhrnet.network import ModelConfig, create_model, deploy
from lhrnet.normalise import normalise
from lhrnet.predictor import Predictor
from pipeline.data.samples import read_samples


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """Rows by batch."""
    sizes = (1, 2) if setup.small else (1, 8, 64)
    for r, side in ((-4, 64),) if setup.small else ((-2, 448), (0, 512)):
        for batch in sizes:
            if limit.left > 2:
                _network(r, side, batch, setup, put)
    _whole(sizes, setup, limit, put)


def _network(r: int, side: int, batch: int, setup: Setup, put: Put) -> None:
    torch.manual_seed(0)
    network: Any = create_model(ModelConfig(r=r, input_size=side)).eval()
    network = deploy(network).to(setup.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=setup.device).permute(0, 3, 1, 2)
    for precision in ("bf16", "fp32"):

        def call(bf16: bool = precision == "bf16") -> None:
            with torch.inference_mode(), torch.autocast(setup.device.type, torch.bfloat16, enabled=bf16):
                network(normalise(images))

        timing = time_calls(call, setup.device, seconds=0.05 if setup.small else 0.4, most=50)
        put(
            what="network alone, batch norm folded in",
            network=f"r={r}, {side}",
            batch=batch,
            precision=precision,
            ms=timing.median,
            ms_p90=timing.high,
            images_s=batch * 1000 / timing.median,
        )


def _whole(sizes: tuple[int, ...], setup: Setup, limit: Limit, put: Put) -> None:
    r, side = (-4, 64) if setup.small else (-2, 256)
    network, weights = _trained(r, side, setup)
    shards = wait_for(setup.data, "learn", limit.left / 2)
    images = [sample.image for sample in islice(read_samples(str(shards / "val2017"), limit=max(sizes)), max(sizes))]
    images = (images * max(sizes))[: max(sizes)]
    with ThreadPoolExecutor(4) as pool:
        for batch in sizes:
            if limit.left < 2:
                return
            predictor = Predictor(network, side, device=setup.device, batch=batch, pool=pool)

            def call(batch: int = batch, predictor: Predictor = predictor) -> None:
                predictor.many(images[:batch])

            timing = time_calls(call, torch.device("cpu"), seconds=0.1 if setup.small else 1.5, most=50)
            timings = predictor.timings
            shares = {name: 1000 * getattr(timings, name) / timings.images for name in ("resize", "network", "decode")}
            put(
                what="images to people, plain protocol, fp32",
                network=f"r={r}, {side}, {weights}",
                batch=batch,
                ms=timing.median,
                ms_p90=timing.high,
                images_s=batch * 1000 / timing.median,
                **{f"{name}_ms_an_image": share for name, share in shares.items()},
            )
        if limit.left > 2:
            _grouping(network, images, side, setup, pool, put)


def _grouping(network: nn.Module, images: Any, side: int, setup: Setup, pool: ThreadPoolExecutor, put: Put) -> None:
    """The same maps grouped on the device and on the CPU."""
    import cv2
    import numpy as np

    pixels = np.stack([cv2.resize(image, (side, side)) for image in images])
    with torch.inference_mode():
        heat, tags = batch_maps(from_pixels(network), torch.from_numpy(pixels).to(setup.device), flip=False)
        tags = nn.functional.interpolate(tags.flatten(1, 2), size=heat.shape[2:], mode="bilinear")
        tags = tags.view(*heat.shape[:2], -1, *heat.shape[2:])
        host_heat, host_tags = heat.cpu().numpy(), np.moveaxis(tags.cpu().numpy(), 2, -1)
        people = sum(len(groups.scores) for groups in group_on_device(heat, tags, pool=pool))
        seconds = 0.1 if setup.small else 1.0
        calls = {
            "grouping on the device": lambda: group_on_device(heat, tags, pool=pool),
            "maps to the host and grouping there": lambda: (
                heat.cpu(),
                tags.cpu(),
                group_batch(host_heat, host_tags, pool=pool),
            ),
        }
        for name, call in calls.items():
            timing = time_calls(call, torch.device("cpu"), seconds=seconds, most=30)
            put(
                what=name,
                maps=f"{tuple(heat.shape)}",
                people=people,
                ms=timing.median,
                ms_an_image=timing.median / len(images),
            )


def _trained(r: int, side: int, setup: Setup) -> tuple[nn.Module, str]:
    torch.manual_seed(0)
    network = create_model(ModelConfig(r=r, input_size=side))
    path, weights = setup.data / "learned.pt", "random weights"
    if path.is_file():
        network.load_state_dict(torch.load(path, weights_only=True))
        weights = "trained"
    return network.eval().to(setup.device), weights
