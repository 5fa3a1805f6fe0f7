"""The networks: from settings to a module of torch."""

from lhrnet.network.catalogue import names
from lhrnet.network.config import ModelConfig
from lhrnet.network.deploy import deploy
from lhrnet.network.loading import LoadReport, load_backbone
from lhrnet.network.profile import Part, Profile, profile
from lhrnet.network.registry import create_model
from lhrnet.network.stages import PoseNetwork
from lhrnet.network.warm_up import adopt

__all__ = [
    "LoadReport",
    "ModelConfig",
    "Part",
    "PoseNetwork",
    "Profile",
    "adopt",
    "create_model",
    "deploy",
    "load_backbone",
    "names",
    "profile",
]
