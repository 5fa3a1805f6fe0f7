"""The networks: settings in, module out. Importing this package registers every network by name."""

from lhrnet.network import efficient, higher, lightweight
from lhrnet.network.deploy import deploy
from lhrnet.network.loading import LoadReport, load_backbone
from lhrnet.network.profile import Part, Profile, profile
from lhrnet.network.registry import create_model, names
from lhrnet.network.spec import ModelConfig
from lhrnet.network.stages import PoseNetwork

__all__ = [
    "LoadReport",
    "ModelConfig",
    "Part",
    "PoseNetwork",
    "Profile",
    "create_model",
    "deploy",
    "efficient",
    "higher",
    "lightweight",
    "load_backbone",
    "names",
    "profile",
]
