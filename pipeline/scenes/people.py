"""People for the skeletons that people are annotated with: every joint is derived from one and the same figure.

The pictures do not depend on the skeleton, the joints do. Head and neck are where the data sets have them: the top of
the head on its outline, LSP's and CrowdPose's neck between the shoulders' upper ends, MPII's upper neck at the lower
end of the head, its thorax between the shoulders and its pelvis between the hips.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from lhrnet.coco import KEYPOINTS, K
from lhrnet.skeleton import Skeleton
from lhrnet.skeleton.skeleton import side_of
from pipeline.scenes.canvas import Canvas, Points
from pipeline.scenes.figure import HEAD, N_POINTS, NECK, pose_figure
from pipeline.scenes.look import choose_look
from pipeline.scenes.painter import ARM, LEG, SKULL, SKULL_RADIUS, TRUNK, paint_person
from pipeline.scenes.subject import Drawn, Manner

_HEAD_TOP, _HEAD_FOOT = N_POINTS, N_POINTS + 1
"""Places after the figure's own points: upper and lower end of the head's outline."""

_SHOULDERS, _HIPS = (5, 6), (11, 12)
_SIDED: Final = tuple(
    (SKULL,) if k < 5 else (*((TRUNK[side],) if k in (*_SHOULDERS, *_HIPS) else ()), limb[side])
    for k in range(K)
    for side, limb in [((k + 1) % 2, LEG if k >= _HIPS[0] else ARM)]
)
"""For each of COCO's keypoints, the parts that show it; odd ones are on the left."""

_JOINTS: Final[Mapping[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    **{side_of(name): ((k,), _SIDED[k]) for k, name in enumerate(KEYPOINTS)},
    ("", "neck"): ((NECK,), (*TRUNK, SKULL)),
    ("", "thorax"): (_SHOULDERS, (*TRUNK, SKULL)),
    ("", "pelvis"): (_HIPS, (*TRUNK, *LEG)),
    ("", "upper neck"): ((_HEAD_FOOT,), (*TRUNK, SKULL)),
    ("", "head top"): ((_HEAD_TOP,), (SKULL,)),
    ("", "head"): ((_HEAD_TOP,), (SKULL,)),
}
"""By side and name of a joint: the points in whose middle it lies, and the parts that show it."""


class People:
    """Drawn people with the keypoints of one skeleton."""

    def __init__(self, skeleton: Skeleton) -> None:
        """Raises KeyError: the figure has no point of a keypoint's name."""
        self.skeleton = skeleton
        joints = [_JOINTS[side_of(name)] for name in skeleton.keypoints]
        self.points = tuple(points for points, _ in joints)
        self.shown_by = tuple(parts for _, parts in joints)

    def paint(
        self, rng: np.random.Generator, canvas: Canvas, *, height: float, middle: Points, number: int, manner: Manner
    ) -> Drawn:
        """Paint a person, whose middle is that of the hips, and the shadow on the ground."""
        figure = pose_figure(rng, variety=manner.variety)
        look = choose_look(rng)
        lowest = float(figure.points[:, 1].max()) * height
        canvas.shadow(middle + np.array([0.0, lowest]), 0.17 * height)
        xy = paint_person(canvas, figure, look, height=height, hips=middle, person=number, contrast=manner.sides)
        up = xy[HEAD] - xy[NECK]
        reach = up / max(1e-6, float(np.hypot(*up))) * SKULL_RADIUS * figure.head_scale * height
        xy = np.concatenate([xy, [xy[HEAD] + reach, xy[HEAD] - reach]])
        turned_away = figure.unseen()
        return Drawn(
            points=np.array([xy[list(points)].mean(0) for points in self.points]),
            unlabelled=np.array([points[0] < K and bool(turned_away[points[0]]) for points in self.points]),
        )
