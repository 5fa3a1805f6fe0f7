"""Which keypoints does an object have, and what holds among them?"""

from lhrnet.skeleton.agreement import check_same_keypoints
from lhrnet.skeleton.builtin import COCO, SKELETONS
from lhrnet.skeleton.skeleton import Skeleton

__all__ = ["COCO", "SKELETONS", "Skeleton", "check_same_keypoints"]
