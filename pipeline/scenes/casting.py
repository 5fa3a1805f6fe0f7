"""Who stands in the scenes of which skeleton?"""

from collections.abc import Mapping
from typing import Final

from lhrnet.skeleton import SKELETONS
from pipeline.scenes.hands import Hands
from pipeline.scenes.people import People
from pipeline.scenes.subject import Subject

SUBJECTS: Final[Mapping[str, Subject]] = {
    **{name: People(SKELETONS[name]) for name in ("coco", "crowdpose", "lsp", "mpii")},
    "hand": Hands(),
}
"""What can be drawn, by the name of its skeleton."""


def subject_of(skeleton: str) -> Subject:
    """What is drawn for a built-in skeleton.

    Raises:
        ValueError: nothing is, or there is no such skeleton.
    """
    if skeleton not in SUBJECTS:
        known = "is built in, but not drawn" if skeleton in SKELETONS else "is unknown"
        raise ValueError(f"skeleton {skeleton!r:.60} {known}; drawn are {', '.join(SUBJECTS)}")
    return SUBJECTS[skeleton]
