"""What an annotation file does not say of its keypoints, worked out: each guess is put into words for people to see."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lhrnet.skeleton.builtin import COCO, SKELETONS
from lhrnet.skeleton.skeleton import MAX_KEYPOINTS, Side, Skeleton, same_keypoints, side_of

DETAILS: Final = "lhrnet"
"""Key of a category under which the whole skeleton stands, where it was written by this project."""


def category_of(skeleton: Skeleton, number: int) -> dict[str, Any]:
    """The skeleton as a category of a COCO annotation file, limbs counted from 1; `from_category` reads it back."""
    tree = {
        "id": number,
        "name": skeleton.category,
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }
    return tree if skeleton == COCO else {**tree, DETAILS: skeleton.tree()}


def from_category(category: Mapping[str, Any]) -> tuple[Skeleton, list[str]]:
    """The skeleton of a category of an annotation file, and what was assumed to complete it, a sentence each.

    A category whose keypoints are those of a built-in skeleton is that one, whatever the spelling of its names.

    Args:
        category: COCO's, with a list `keypoints`; `skeleton` (limbs counted from 1), `flip_index` and `sigmas` where
            the file has them.

    Raises:
        ValueError: the keypoints are no names, occur twice, or what the file says does not fit them.
    """
    names, label = category.get("keypoints"), str(category.get("name", "object"))
    if DETAILS in category:
        skeleton = Skeleton.from_tree(category[DETAILS])
        if list(skeleton.keypoints) != names:
            raise ValueError(f"category {label!r}: its keypoints and those of its {DETAILS!r} entry differ")
        return skeleton, []
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_KEYPOINTS:
        raise ValueError(f"category {label!r} has keypoints {names!r:.60}; it must list 1 to {MAX_KEYPOINTS} names")
    names = [str(name).strip() for name in names]
    own = {key: category[key] for key in ("flip_index", "sigmas") if category.get(key) is not None}
    for known in SKELETONS.values():
        if not own and same_keypoints(names, known.keypoints):
            spelt = f" ({names[0]!r} is read as {known.keypoints[0]!r} and so on)"
            changed = spelt if names != list(known.keypoints) else ""
            return known, [] if known == COCO and not changed else [
                f"its keypoints are those of the built-in skeleton {known.name!r}{changed}"
            ]
    places = {name: k for k, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for k, name in enumerate(names) if places[name] != k)
        raise ValueError(f"category {label!r} has the keypoint {twice!r:.60} twice; names must differ")
    notes: list[str] = []
    limbs = _limbs(category.get("skeleton"), len(names), label, notes)
    flip = _given_flip(own["flip_index"], label) if "flip_index" in own else flip_of(names, notes)
    sigmas = _given_sigmas(own["sigmas"], label) if "sigmas" in own else estimated_sigmas(names, notes)
    order = order_of(len(names), limbs, notes)
    sides = Skeleton(
        name=label, category=label, keypoints=tuple(names), limbs=(), flip=flip, sigmas=sigmas, order=order, colours=()
    ).sides
    skeleton = Skeleton(
        name=label,
        category=label,
        keypoints=tuple(names),
        limbs=limbs,
        flip=flip,
        sigmas=sigmas,
        order=order,
        colours=tuple(limb_colour(sides[a], sides[b]) for a, b in limbs),
    )
    return skeleton, notes


def numbered(count: int) -> list[str]:
    """Names for keypoints that a data set does not name; a skeleton that is given may rename them."""
    return [f"point_{k + 1}" for k in range(count)]


def of_truth(truth: Mapping[str, Any]) -> Skeleton:
    """The skeleton of a ground truth in COCO's form: that of its one category with keypoints, COCO's if none has any.

    Raises:
        ValueError: as `from_category`.
    """
    category = keypoint_category(truth)
    return from_category(category)[0] if category else COCO


def keypoint_category(truth: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first category of a ground truth that lists keypoints; None where none does."""
    categories = truth.get("categories")
    listed = categories if isinstance(categories, list | tuple) else ()
    return next((c for c in listed if isinstance(c, Mapping) and c.get("keypoints")), None)


def flip_of(names: Sequence[str], notes: list[str]) -> tuple[int, ...]:
    """Which keypoint takes whose place in a mirrored image, from left and right in the names."""
    flip = list(range(len(names)))
    places: dict[tuple[str, str], int] = {}
    for k, name in enumerate(names):
        side, rest = side_of(name)
        other = places.get(({"left": "right", "right": "left"}.get(side, ""), rest))
        if side and other is not None and flip[other] == other:
            flip[k], flip[other] = other, k
        places[side, rest] = k
    pairs = [f"{names[k]}/{names[other]}" for k, other in enumerate(flip) if k < other]
    alone = [name for k, name in enumerate(names) if flip[k] == k and side_of(name)[0]]
    notes.append(
        f"flip pairs are read from left and right in the names: {', '.join(pairs)}"
        if pairs
        else "no names tell left from right: no keypoints change places in a mirror"
    )
    if alone:
        notes.append(f"these have a side and no partner, so they stay as they are in a mirror: {', '.join(alone)}")
    return tuple(flip)


def order_of(count: int, limbs: Sequence[tuple[int, int]], notes: list[str]) -> tuple[int, ...]:
    """Order of grouping: from the middle of the graph of limbs outwards, so that what many share starts a person."""
    near: list[set[int]] = [set() for _ in range(count)]
    for a, b in limbs:
        near[a].add(b)
        near[b].add(a)

    def spread(start: int) -> dict[int, int]:
        steps, queue = {start: 0}, deque([start])
        while queue:
            here = queue.popleft()
            for there in sorted(near[here] - steps.keys()):
                steps[there] = steps[here] + 1
                queue.append(there)
        return steps

    reach = [spread(k) for k in range(count)]
    middle = min(range(count), key=lambda k: (-len(reach[k]), sum(reach[k].values()), k))
    order = list(reach[middle])
    order += [k for k in range(count) if k not in reach[middle]]
    notes.append("the order of grouping goes from the middle of the graph of limbs outwards")
    return tuple(order)


def estimated_sigmas(names: Sequence[str], notes: list[str]) -> tuple[float, ...]:
    """OKS tolerances where no file gives them: those of COCO's keypoints of the same name, else their mean."""
    known = {side_of(name)[1]: sigma for name, sigma in zip(COCO.keypoints, COCO.sigmas, strict=True)}
    mean = round(sum(COCO.sigmas) / COCO.count, 3)
    sigmas = tuple(known.get(side_of(name)[1], mean) for name in names)
    same = sum(side_of(name)[1] in known for name in names)
    notes.append(
        f"sigmas are estimated: {same} of {len(names)} are COCO's for keypoints of the same name, the others {mean}, "
        f"the mean of COCO's; AP depends on them, so give measured ones where you have them"
    )
    return sigmas


def limb_colour(a: Side, b: Side) -> Side:
    """Colour of the limb between keypoints of two sides: theirs where they agree or one is in the middle."""
    sides = {a, b} - {"own"}
    return sides.pop() if len(sides) == 1 else "own"


def _limbs(given: Any, count: int, label: str, notes: list[str]) -> tuple[tuple[int, int], ...]:
    if not given:
        notes.append("it has no limbs: only points are drawn")
        return ()
    whole = isinstance(given, list) and all(isinstance(limb, list) and len(limb) == 2 for limb in given)
    ends = [end for limb in given for end in limb] if whole else [None]
    if not all(type(end) is int and 0 <= end <= count for end in ends):
        raise ValueError(f"category {label!r}: its skeleton is {given!r:.60}; it must be pairs of 1 to {count}")
    first = 0 if 0 in ends else 1
    if first == 0:
        notes.append("its limbs count from 0, where COCO's count from 1")
    pairs = [(a - first, b - first) for a, b in given]
    kept = list(dict.fromkeys((a, b) for a, b in pairs if a != b))
    if len(kept) < len(pairs):
        notes.append(f"{len(pairs) - len(kept)} limbs that join a keypoint with itself or occur twice are left away")
    return tuple(kept)


def _given_flip(flip: Any, label: str) -> tuple[int, ...]:
    if not isinstance(flip, list) or not all(type(k) is int for k in flip):
        raise ValueError(f"category {label!r}: flip_index is {flip!r:.60}; it must list a keypoint's place for each")
    return tuple(flip)


def _given_sigmas(sigmas: Any, label: str) -> tuple[float, ...]:
    if not isinstance(sigmas, list) or not all(type(s) in (int, float) for s in sigmas):
        raise ValueError(f"category {label!r}: sigmas are {sigmas!r:.60}; they must be one number for each keypoint")
    return tuple(float(s) for s in sigmas)
