"""The networks by name: each is one module with a function from its settings to a `PoseNetwork`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from lhrnet.network import efficient, higher, lightweight
from lhrnet.network.config import ModelConfig
from lhrnet.network.scaling import MAX_R, MIN_R
from lhrnet.network.stages import PoseNetwork

BUILDERS: Final[Mapping[str, Callable[[ModelConfig], PoseNetwork]]] = {
    "lightweight-hrnet": lightweight.build,
    "higherhrnet-w32": partial(higher.build, width=32),
    "higherhrnet-w48": partial(higher.build, width=48),
    **{f"efficienthrnet-h{r}": partial(efficient.build, r=r) for r in range(MIN_R, MAX_R + 1)},
}
"""Functions that build the networks of the catalogue; `create_model` initialises the weights afterwards."""


def create_model(config: ModelConfig) -> PoseNetwork:
    """Build a network with initial weights drawn from torch's global generator.

    Its forward takes normalised float images (B, 3, H, W), H and W multiples of 32, and returns maps at
    (B, 2K, H/4, W/4) and (B, 2K or K, H/2, W/2): heatmaps of the K keypoints of `config.keypoints`, then tags.
    The network keeps its settings as `network.config`.
    """
    network = BUILDERS[config.name](config)
    network.initialise()
    return network
