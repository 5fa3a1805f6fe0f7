"""A skeleton by its name, or from a YAML file that people edit."""

import yaml

from lhrnet.skeleton import SKELETONS, Skeleton
from pipeline.storage import store
from pipeline.storage.safe_yaml import read_yaml

HEAD = """# Keypoints of one kind of object. Edit, and give it to `lhrnet shard --skeleton`.
# flip: pairs that change places in a mirrored image. sigmas: spread of annotators relative to the object's scale; AP
# depends on them. order: in which grouping visits the keypoints. colours: left, right, own or hidden for each limb.
"""


def skeleton_named(name: str) -> Skeleton:
    """A built-in skeleton, or that of a file at any storage URL.

    Raises:
        ValueError: the name is none of the built-in ones and no .yaml file, or the file holds no skeleton.
        FileNotFoundError: there is no such file.
    """
    if name in SKELETONS:
        return SKELETONS[name]
    if not name.endswith((".yaml", ".yml")):
        raise ValueError(
            f"skeleton {name!r:.100} is neither built in ({', '.join(SKELETONS)}) nor a .yaml file; "
            "`lhrnet data skeleton` writes one"
        )
    try:
        return Skeleton.from_tree(read_yaml(store.read_bytes(name).decode("utf-8-sig")))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def skeleton_yaml(skeleton: Skeleton) -> str:
    """The file's text, as `skeleton_named` reads it."""
    return HEAD + yaml.safe_dump(skeleton.tree(), sort_keys=False, allow_unicode=True, default_flow_style=None)
