"""Which category of an annotation file holds the objects, and which keypoints they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhrnet.coco import KEYPOINTS, PERSON
from lhrnet.skeleton import COCO, Skeleton
from lhrnet.skeleton.infer import category_of, from_category, numbered
from lhrnet.skeleton.skeleton import same_keypoints


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is taken from annotation files that may hold several kinds of objects."""

    category: str = ""
    """Name of the category; empty: the only one with keypoints."""
    skeleton: Skeleton | None = None
    """Its keypoints, where the file does not say all of them or says them wrongly; None: as the file says."""


@dataclass(frozen=True)
class ChosenCategory:
    """The category that is taken."""

    number: int
    """Its id in the file. In shards it is 1, COCO's number of people."""
    others: frozenset[int]
    """Ids of the file's other categories, whose annotations are left away."""
    skeleton: Skeleton
    kept: list[dict[str, Any]]
    """The categories of the ground truth: as the file has them where it is COCO's, else the chosen one alone."""
    notes: tuple[str, ...]
    """What was assumed, a sentence each."""


def choose_category(categories: Sequence[Any], name: str, choice: Choice) -> ChosenCategory:
    """Find the category with keypoints.

    Args:
        categories: the annotation file's.
        name: the file's, for messages.
        choice: what is asked for.

    Raises:
        ValueError: none or several fit, it does not say its keypoints, or these do not fit the skeleton asked for.
    """
    listed = [c for c in categories if isinstance(c, Mapping)]
    names = ", ".join(repr(c.get("name")) for c in listed[:20]) or "none"
    found = listed if choice.skeleton else [c for c in listed if c.get("keypoints")]
    if choice.category:
        found = [c for c in found if str(c.get("name", "")).casefold() == choice.category.casefold()]
    elif any(c.get("keypoints") for c in found):
        found = [c for c in found if c.get("keypoints")]
    if not found:
        raise ValueError(
            f"{name} has no category {f'{choice.category!r} ' if choice.category else ''}that lists keypoints (its "
            f"categories: {names}); for people use person_keypoints_*.json, else name the keypoints in the category or "
            "give a skeleton file"
        )
    if len(found) > 1:
        several = " and ".join(repr(c.get("name")) for c in found[:5])
        raise ValueError(f"{name} has {len(found)} categories with keypoints, {several}: choose one by its name")
    (category,) = found
    number = _number(category, name)
    others = frozenset(_number(c, name) for c in listed if c is not category)
    if number in others:
        raise ValueError(f"{name} has two categories of the id {number}; ids must differ")
    try:
        skeleton, notes = _skeleton_of(category, choice.skeleton)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    own = skeleton == COCO and number == PERSON and category.get("keypoints") == list(KEYPOINTS)
    alone = sum(bool(c.get("keypoints")) for c in listed) == 1
    kept = [dict(c) for c in listed] if own and alone else [category_of(skeleton, PERSON)]
    if number != PERSON:
        notes = [*notes, f"category {number}, {category.get('name')!r}, has the number {PERSON} in the shards"]
    return ChosenCategory(number, others, skeleton, kept, tuple(notes))


def _skeleton_of(category: Mapping[str, Any], given: Skeleton | None) -> tuple[Skeleton, list[str]]:
    if given is None:
        return from_category(category)
    names = category.get("keypoints")
    if names == numbered(given.count):
        return given, []
    if names and not (isinstance(names, list) and same_keypoints([str(n) for n in names], given.keypoints)):
        raise ValueError(
            f"category {category.get('name')!r} has the keypoints {', '.join(map(str, names))!r:.200} and the skeleton "
            f"{given.name!r} {', '.join(given.keypoints)!r:.200}: they must be the same, in the same order"
        )
    return given, []


def _number(category: Mapping[str, Any], name: str) -> int:
    number = category.get("id")
    if isinstance(number, bool) or not isinstance(number, int | str) or not str(number).strip().isdigit():
        raise ValueError(f"{name}: category {category.get('name')!r} has the id {number!r:.40}; it must be a number")
    return int(number)
