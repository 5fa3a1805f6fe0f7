"""The keypoints of one kind of object: names, limbs, symmetry, tolerances, and the order of grouping.

Everything that depends on the keypoints takes them from such a value: the network's maps, the mirrored image, the loss,
grouping, scoring and drawing. It is read from the data once and travels with the shards, the checkpoint and the
exported file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal, Self, get_args

Side = Literal["left", "right", "own", "hidden"]
"""Colour of a limb: that of the left or right side, the object's own, or not drawn at all."""

MAX_KEYPOINTS: Final = 256
"""More would take memory for nothing: COCO-WholeBody has 133."""
_LONGEST: Final = 100


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A set of keypoints. Frozen and checked: two equal values mean the same maps, mirror, score and drawing."""

    name: str
    """Name of the set, such as "coco"."""
    category: str
    """Name of the objects, as the annotation file's category has it."""
    keypoints: tuple[str, ...]
    """Names, in the order of annotations and maps."""
    limbs: tuple[tuple[int, int], ...]
    """Pairs of keypoints that are joined, counted from 0."""
    flip: tuple[int, ...]
    """`mirrored[k] = original[flip[k]]`: which keypoint is seen in its place in a mirrored image."""
    sigmas: tuple[float, ...]
    """Spread of annotators on each keypoint relative to the object's scale: OKS's tolerance."""
    order: tuple[int, ...]
    """Order in which grouping visits the keypoints."""
    colours: tuple[Side, ...]
    """Colour of each limb."""

    def __post_init__(self) -> None:
        """Raises ValueError: the parts do not fit each other; the message names the part and the value."""
        count, what = len(self.keypoints), f"skeleton {self.name!r:.60}"
        _check_name(self.name, "name")
        _check_name(self.category, f"{what}: category")
        if not 1 <= count <= MAX_KEYPOINTS:
            raise ValueError(f"{what} has {count} keypoints; it must have 1 to {MAX_KEYPOINTS}")
        for keypoint in self.keypoints:
            _check_name(keypoint, f"{what}: a keypoint's name")
        twice = [keypoint for keypoint in self.keypoints if self.keypoints.count(keypoint) > 1]
        if twice:
            raise ValueError(f"{what} has the keypoint {twice[0]!r} twice; names must differ")
        for limb in self.limbs:
            if len(limb) != 2 or limb[0] == limb[1] or not all(0 <= end < count for end in limb):
                raise ValueError(f"{what}: limb {limb} must join two different keypoints of 0 to {count - 1}")
        if sorted(self.flip) != list(range(count)) or any(self.flip[self.flip[k]] != k for k in range(count)):
            raise ValueError(
                f"{what}: flip is {list(self.flip)!r:.80}; it must name for each of the {count} keypoints the one that "
                f"takes its place in a mirrored image, and that one must name it in turn"
            )
        if len(self.sigmas) != count:
            raise ValueError(f"{what} has {len(self.sigmas)} sigmas for {count} keypoints; it must have one for each")
        for keypoint, sigma in zip(self.keypoints, self.sigmas, strict=True):
            if not (isfinite(sigma) and 0 < sigma <= 1):
                raise ValueError(f"{what}: the sigma of {keypoint} is {sigma}; it must be above 0 and at most 1")
        if sorted(self.order) != list(range(count)):
            raise ValueError(f"{what}: order is {list(self.order)!r:.80}; it must list each of 0 to {count - 1} once")
        if len(self.colours) != len(self.limbs) or any(colour not in get_args(Side) for colour in self.colours):
            raise ValueError(
                f"{what}: colours are {list(self.colours)!r:.80}; they must be one of {', '.join(get_args(Side))} for "
                f"each of the {len(self.limbs)} limbs"
            )

    @property
    def count(self) -> int:
        """Keypoints of one object."""
        return len(self.keypoints)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Side of each keypoint; where the names do not tell, the first of a pair counts as left."""
        sides: list[Side] = []
        for k, other in enumerate(self.flip):
            first_is_right = side_of(self.keypoints[min(k, other)])[0] == "right"
            sides.append("own" if k == other else "left" if (k < other) != first_is_right else "right")
        return tuple(sides)

    def tree(self) -> dict[str, Any]:
        """The skeleton by names, as people edit it in YAML; `from_tree` reads it."""
        named = self.keypoints
        return {
            "name": self.name,
            "category": self.category,
            "keypoints": list(named),
            "limbs": [[named[a], named[b]] for a, b in self.limbs],
            "flip": [[named[k], named[other]] for k, other in enumerate(self.flip) if k < other],
            "sigmas": dict(zip(named, self.sigmas, strict=True)),
            "order": [named[k] for k in self.order],
            "colours": list(self.colours),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """A skeleton from its fields as JSON keeps them, lists in place of tuples.

        Raises:
            ValueError: a field is missing, unknown or of another type, or the parts do not fit.
        """
        try:
            own: dict[str, Any] = {key: v if isinstance(v, str) else tuple(v) for key, v in fields.items()}
            own["limbs"] = tuple((int(a), int(b)) for a, b in fields["limbs"])
            return cls(**own)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a stored skeleton is damaged: {error}") from error

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Read the form that `tree` gives.

        Raises:
            ValueError: a key is missing or unknown, a name is none of the keypoints', or the parts do not fit.
        """
        keys = ("name", "category", "keypoints", "limbs", "flip", "sigmas", "order", "colours")
        if not isinstance(tree, Mapping) or set(tree) != set(keys):
            found = ", ".join(map(str, tree)) if isinstance(tree, Mapping) else f"a {type(tree).__name__}"
            raise ValueError(f"a skeleton has the keys {', '.join(keys)}; this one has {found:.200}")
        for key in ("keypoints", "limbs", "flip", "order", "colours"):
            if not isinstance(tree[key], list) or len(tree[key]) > MAX_KEYPOINTS**2:
                raise ValueError(f"skeleton: {key} is {tree[key]!r:.60}; it must be a list")
        names = tuple(str(name) for name in tree["keypoints"])
        place = {name: k for k, name in enumerate(names)}

        def at(name: Any, key: str) -> int:
            if not isinstance(name, str) or name not in place:
                raise ValueError(f"skeleton: {key} names {name!r:.60}, which is none of its keypoints")
            return place[name]

        def pairs(key: str) -> list[tuple[int, int]]:
            for pair in tree[key]:
                if not isinstance(pair, list) or len(pair) != 2:
                    raise ValueError(f"skeleton: {key} holds {pair!r:.60}; it must hold pairs of keypoints' names")
            return [(at(a, key), at(b, key)) for a, b in tree[key]]

        sigmas = tree["sigmas"]
        if not isinstance(sigmas, Mapping) or set(sigmas) != set(names):
            raise ValueError("skeleton: sigmas must have one number for each keypoint, by its name")
        flip = list(range(len(names)))
        for a, b in pairs("flip"):
            if flip[a] != a or flip[b] != b or a == b:
                raise ValueError(f"skeleton: flip has {names[a]!r} or {names[b]!r} twice; each is in one pair at most")
            flip[a], flip[b] = b, a
        return cls(
            name=str(tree["name"]),
            category=str(tree["category"]),
            keypoints=names,
            limbs=tuple(pairs("limbs")),
            flip=tuple(flip),
            sigmas=tuple(_number(sigmas[name], name) for name in names),
            order=tuple(at(name, "order") for name in tree["order"]),
            colours=tuple(tree["colours"]),
        )


def side_of(name: str) -> tuple[Literal["left", "right", ""], str]:
    """Which side a keypoint's name tells, and what is left of the name: left_eye, Left Eye, l_eye, eyeL, eye-R."""
    words = _words(name)
    for place in (0, len(words) - 1, *range(1, len(words) - 1)):
        for side, spelt in _SIDES.items():
            if len(words) > 1 and words[place] in spelt:
                return side, " ".join(words[:place] + words[place + 1 :])
    return "", " ".join(words)


_SIDES: Final[dict[Literal["left", "right"], tuple[str, ...]]] = {"left": ("left", "l"), "right": ("right", "r")}


def _words(name: str) -> list[str]:
    """A name's words in small letters: split where letters turn into capitals or other signs stand; digits stay."""
    spaced = "".join(
        f" {c}" if c.isupper() and i and not name[i - 1].isupper() else c if c.isalnum() else " "
        for i, c in enumerate(name)
    )
    words: list[str] = []
    for word in spaced.split():
        glued = word[:1].upper() in "LR" and word[1:2].isupper() and word[2:3].islower()  # LEye
        lower = word.lower()
        opened = next((side for side in ("left", "right") if lower.startswith(side) and len(lower) > len(side)), "")
        words += [word[0].lower(), lower[1:]] if glued else [opened, lower[len(opened) :]] if opened else [lower]
    return words


def _check_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST or not name.isprintable() or name != name.strip():
        raise ValueError(f"{what} is {name!r:.60}; it must be 1 to {_LONGEST} printable characters")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"skeleton: the sigma of {name} is {value!r:.40}; it must be a number")
    return float(value)


def same_keypoints(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same keypoints in the same order, whatever the spelling of sides and words."""
    return len(names) == len(others) and all(side_of(a) == side_of(b) for a, b in zip(names, others, strict=True))
