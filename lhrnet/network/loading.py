"""Loading the backbone alone, from a file of backbone weights or from a whole network's."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lhrnet.network.stages import PoseNetwork


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What was and was not loaded; keys are named as the backbone names them."""

    loaded: tuple[str, ...]
    """Keys that the file and the backbone share."""

    missing: tuple[str, ...]
    """Keys of the backbone that the file lacks; they keep their values."""

    unexpected: tuple[str, ...]
    """Keys of the file that the backbone lacks."""

    def __str__(self) -> str:
        text = f"backbone: {len(self.loaded)} loaded, {len(self.missing)} missing, {len(self.unexpected)} unexpected"
        for label, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                text += f"\n{label}: {', '.join(keys)}"
        return text


def load_backbone(network: PoseNetwork, state_dict: Mapping[str, Tensor]) -> LoadReport:
    """Copy weights into `network.backbone`; the rest of the network keeps its weights.

    Args:
        network: any network of the registry.
        state_dict: a backbone's weights, or those of a whole network, of which only the keys that begin with
            "backbone." are used. A leading "module." (from data-parallel training) is ignored.

    Raises:
        ValueError: no key fits, or one has another shape; nothing is loaded then.
    """
    given = {key.removeprefix("module."): value for key, value in state_dict.items()}
    if any(key.startswith("backbone.") for key in given):
        given = {key.removeprefix("backbone."): value for key, value in given.items() if key.startswith("backbone.")}
    own = network.backbone.state_dict()
    shared = [key for key in own if key in given]
    name = network.config.name
    if not shared:
        raise ValueError(
            f"none of the {len(given)} weights belongs to the backbone of {name}; "
            f"it expects names such as {next(iter(own))}: is this file of another network?"
        )
    for key in shared:
        if not isinstance(given[key], Tensor):
            raise ValueError(f"backbone weight {key} is a {type(given[key]).__name__}, not a tensor")
        if given[key].shape != own[key].shape:
            raise ValueError(
                f"backbone weight {key} has shape {tuple(given[key].shape)}, but {name} needs {tuple(own[key].shape)}; "
                f"load a file of the same network and scale"
            )
    network.backbone.load_state_dict({key: given[key] for key in shared}, strict=False)
    return LoadReport(
        loaded=tuple(shared),
        missing=tuple(key for key in own if key not in given),
        unexpected=tuple(key for key in given if key not in own),
    )
