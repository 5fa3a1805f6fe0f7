"""Changed inputs: JSON trees with odd values in places, and bytes that are flipped, cut, doubled or left out."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 0.5, 2**31, 2**63, 2**70, -(2**63), 1e308, -1e308, 1e-320),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "5", "1e999", "x" * 3000, "9" * 5000, "\ud800", "\x1b[31m"),
    *("../../x", "/etc/passwd", "<script>", [], {}, [[]], [{}], {"a": 1}, [1] * 60, ["1"] * 51),
)
DEEP = (500, 3000, 200_000)
"""Opening brackets before a JSON text."""


def _paths(tree: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    children = tree.items() if isinstance(tree, dict) else enumerate(tree[:40]) if isinstance(tree, list) else ()
    for key, child in children:
        yield from _paths(child, (*before, key))


def changed_tree(draw: random.Random, tree: Any) -> Any:
    """A copy of a JSON tree that is changed in one to five places."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice([1, 1, 1, 2, 3, 5])):
        place = draw.choice(list(_paths(tree)))
        if not place:
            continue
        parent = tree
        for key in place[:-1]:
            parent = parent[key]
        _change(draw, parent, place[-1])
    return copy.deepcopy(draw.choice(ODD)) if draw.random() < 0.01 else tree


def _change(draw: random.Random, parent: Any, key: Any) -> None:
    what, old = draw.random(), parent[key]
    if what < 0.6:
        parent[key] = copy.deepcopy(draw.choice(ODD))
    elif what < 0.7:
        del parent[key]
    elif what < 0.8 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(old))
    elif what < 0.9:
        parent[key] = _near(draw, old)
    elif isinstance(parent, dict):
        parent[draw.choice(["x", "id", "image_id", "__class__"])] = copy.deepcopy(draw.choice(ODD))


def _near(draw: random.Random, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return draw.choice(
            [value + 1, value - 1, -value, value * 1000, value * 10**6, str(value), float(value), [value]]
        )
    if isinstance(value, str):
        return draw.choice([value + "x", value[:-1], value.upper(), value + "\0", "../" + value])
    return draw.choice([value * 2, value[:-1], value[::-1], [value]]) if isinstance(value, list) else [value]


def as_bytes(draw: random.Random, tree: Any) -> bytes:
    """JSON text, now and then damaged or nested as deep as no reader goes."""
    text = json.dumps(tree).encode()
    if draw.random() < 0.08:
        text = changed_bytes(draw, text)
    return b"[" * draw.choice(DEEP) + text if draw.random() < 0.01 else text


def changed_bytes(draw: random.Random, data: bytes) -> bytes:
    """A copy of some bytes, changed in one to sixteen places."""
    out = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        if not out:
            break
        what, at = draw.random(), draw.randrange(len(out))
        if what < 0.4:
            out[at] ^= 1 << draw.randrange(8)
        elif what < 0.6:
            out[at] = draw.choice([0, 255, 127, 128, 32])
        elif what < 0.7:
            del out[at : at + draw.choice([1, 2, 16, 512])]
        elif what < 0.8:
            out[at:at] = draw.randbytes(draw.choice([1, 4, 64]))
        elif what < 0.9:
            out[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"])
        elif what < 0.95:
            del out[at:]
        else:
            other = draw.randrange(len(out))
            out[at : at + 64] = out[other : other + 64]
    return bytes(out)
