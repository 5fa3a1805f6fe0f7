"""Which keypoints does an object have, and what holds among them?"""

from lhrnet.skeleton.builtin import COCO, SKELETONS
from lhrnet.skeleton.skeleton import Skeleton

__all__ = ["COCO", "SKELETONS", "Skeleton"]
