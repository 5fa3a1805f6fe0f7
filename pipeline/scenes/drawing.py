"""One scene: people arranged, painted, and annotated from what the finished picture shows."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as section

from lhrnet.coco import PERSON
from lhrnet.skeleton import COCO
from pipeline import SECTION, Share
from pipeline.scenes.backgrounds import finish, paint_background, paint_clutter
from pipeline.scenes.canvas import PARTS, Canvas, Points
from pipeline.scenes.casting import subject_of
from pipeline.scenes.subject import Drawn, Manner, Subject

Image = NDArray[np.uint8]
Annotation = dict[str, Any]

_ATTEMPTS: Final = 12
_FEWEST_SEEN: Final = 6
"""A drawn object must show at least this many of 17 keypoints; otherwise the scene is arranged anew."""


@section(frozen=True, kw_only=True, config=SECTION)
class SceneConfig:
    """What the scenes are like. The defaults are the demo's: learnable in minutes, far from solved by then."""

    size: Annotated[int, Field(ge=64, le=1024)] = 192
    """Pixels of an image's long side, 64 to 1024; the short side is 3/4 to all of it."""
    people: Annotated[int, Field(ge=1, le=12)] = 3
    """At most this many labelled people in a scene, 1 to 12."""
    smallest: Annotated[float, Field(ge=0.1, le=1.5)] = 0.55
    """A labelled person's standing height is at least this, as a fraction of the image's height."""
    largest: Annotated[float, Field(ge=0.1, le=1.5)] = 1.0
    """Greatest standing height of a labelled person, as a fraction of the image's height; 1.5 at most."""
    variety: Annotated[float, Field(ge=0, le=2)] = 0.7
    """How far limbs stray from a typical pose: 0 not at all, 1 naturally, 2 at most."""
    sides: Share = 1.0
    """How much lighter a person's left is than the right, 0 (alike) to 1."""
    clutter: Annotated[int, Field(ge=0, le=100)] = 5
    """At most this many pieces of clutter behind the people."""
    cut: Share = 0.1
    """Chance that a person is cut by the image's border."""
    occluder: Share = 0.2
    """Chance that something stands in front of the people."""
    crowd: Share = 0.06
    """Chance of a distant group, annotated as one crowd region."""
    unlabelled: Share = 0.08
    """Chance of a distant person annotated without keypoints."""
    empty: Share = 0.02
    """Chance of a scene without anybody."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """JPEG quality of the files, 1 to 100."""

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest is {self.smallest}; allowed: at most largest ({self.largest})")


def draw_scene(
    seed: int | Sequence[int], config: SceneConfig | None = None, skeleton: str = COCO.name
) -> tuple[Image, list[Annotation]]:
    """Draw one scene.

    Args:
        seed: one or several non-negative integers; the scene is a function of them, of `config` and of `skeleton`.
        skeleton: name of the built-in skeleton whose objects are drawn.

    Returns:
        The image, (H, W, 3) uint8 RGB, and COCO annotations without `id` and `image_id`, labelled objects first.

    Raises:
        ValueError: nothing is drawn for that skeleton.
    """
    config, subject = config or SceneConfig(), subject_of(skeleton)
    fewest = _FEWEST_SEEN * subject.skeleton.count // COCO.count
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    long, short = config.size, int(config.size * rng.choice([1.0, 1.0, 5 / 6, 3 / 4]))
    h, w = (long, short) if rng.random() < 0.4 else (short, long)
    for _ in range(_ATTEMPTS):
        scene = _Scene(rng, h, w, config, subject)
        people = scene.people()
        if all(person["num_keypoints"] >= fewest for person in people):
            break
    image = cv2.resize(scene.canvas.image, (w, h), interpolation=cv2.INTER_AREA)
    return finish(rng, np.asarray(image)), people + scene.unlabelled()


class _Scene:
    """One arrangement of people, painted; its label map answers what can be seen."""

    def __init__(self, rng: np.random.Generator, h: int, w: int, config: SceneConfig, subject: Subject) -> None:
        self.rng, self.h, self.w, self.config, self.subject = rng, h, w, config, subject
        self.canvas = Canvas(paint_background(rng, h * Canvas.FINE, w * Canvas.FINE))
        paint_clutter(rng, self.canvas.image, config.clutter)
        self.drawn: list[Drawn] = []
        self.far: list[range] = []
        if rng.random() >= config.empty:
            self._arrange()

    def _arrange(self) -> None:
        rng, config = self.rng, self.config
        if rng.random() < config.crowd:
            count, height = int(rng.integers(5, 9)), self.h * rng.uniform(0.17, 0.24)
            centre = np.array([rng.uniform(0.2, 0.8) * self.w, rng.uniform(0.35, 0.6) * self.h])
            self.far.append(range(len(self.drawn), len(self.drawn) + count))
            for i in range(count):
                step = (i - (count - 1) / 2) * 0.3 + rng.normal(0.0, 0.08)
                self._stand(height * rng.uniform(0.9, 1.1), centre + np.array([step, rng.normal(0.0, 0.08)]) * height)
        if rng.random() < config.unlabelled:
            height = self.h * rng.uniform(0.16, 0.24)
            self.far.append(range(len(self.drawn), len(self.drawn) + 1))
            self._stand(height, np.array([rng.uniform(0.1, 0.9) * self.w, rng.uniform(0.35, 0.6) * self.h]))
        self.first_labelled = len(self.drawn)
        count = int(rng.integers(1, config.people + 1))
        middle = (config.smallest + config.largest) / 2
        typical = rng.uniform(config.smallest, config.largest if count < 3 else middle)
        heights = np.clip(typical * rng.uniform(0.8, 1.25, count), config.smallest, config.largest)
        slots = rng.permutation((np.arange(count) + 0.5) / count + rng.normal(0.0, 0.07 / count**0.5, count))
        for slot, height in zip(slots, np.sort(heights) * self.h, strict=True):
            top, bottom = 0.54 * height, self.h - 0.5 * height
            y = rng.uniform(top, bottom) if bottom > top else (top + bottom) / 2
            x = float(slot) * self.w
            if rng.random() < config.cut:
                if rng.random() < 0.6:
                    y = bottom + rng.uniform(0.1, 0.4) * height
                else:
                    x = float(rng.choice([0.0, self.w])) + rng.normal(0.0, 0.08) * height
            self._stand(height, np.array([x, y]))
        if rng.random() < config.occluder:
            self._stand_in_front()

    def _stand(self, height: float, middle: Points) -> None:
        config, number = self.config, len(self.drawn)
        manner = Manner(variety=config.variety, sides=config.sides)
        self.drawn.append(
            self.subject.paint(self.rng, self.canvas, height=height, middle=middle, number=number, manner=manner)
        )

    def _stand_in_front(self) -> None:
        rng, colour = self.rng, tuple(float(c) for c in self.rng.uniform(30, 220, 3))
        x, y = rng.uniform(0.0, self.w), rng.uniform(0.45, 0.95) * self.h
        b, c = rng.uniform(0.03, 0.12, 2) * self.h
        if rng.random() < 0.4:
            c, b = self.h * 1.0, 0.3 * b
        corners = np.array([(x - b, y - c), (x + b, y - c), (x + b, y + c), (x - b, y + c)])
        dark = (colour[0] * 0.5, colour[1] * 0.5, colour[2] * 0.5)
        self.canvas.polygon(corners, dark, 0)
        inner = np.clip(corners, (x - b + 1, y - c + 1), (x + b - 1, y + c - 1)) if b > 1.5 else corners
        self.canvas.polygon(inner, (colour[0], colour[1], colour[2]), 0)

    def people(self) -> list[Annotation]:
        """Annotations of the labelled people."""
        if not self.drawn:
            return []
        return [self._labelled(i) for i in range(self.first_labelled, len(self.drawn))]

    def _labelled(self, person: int) -> Annotation:
        drawn, fine = self.drawn[person], Canvas.FINE
        keypoints: list[float | int] = []
        for k, shown_by in enumerate(self.subject.shown_by):
            x, y = (round(float(v), 2) for v in drawn.points[k])
            if drawn.unlabelled[k] or not (0 <= x < self.w and 0 <= y < self.h):
                keypoints += [0, 0, 0]
                continue
            label = int(self.canvas.labels[int(y * fine), int(x * fine)])
            shown = label // PARTS == person + 1 and label % PARTS in shown_by
            keypoints += [x, y, 2 if shown else 1]
        labelled = sum(v > 0 for v in keypoints[2::3])
        return self._annotation(self._mask(range(person, person + 1)), keypoints, labelled)

    def unlabelled(self) -> list[Annotation]:
        """Annotations of crowd regions and of people without keypoints."""
        found = []
        for people in self.far:
            mask, crowd = self._mask(people), len(people) > 1
            if crowd:
                mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
            if mask.any():
                found.append(self._annotation(mask, [0] * 3 * self.subject.skeleton.count, 0, crowd=crowd))
        return found

    def _mask(self, people: range) -> Image:
        """(2H, 2W): where some of the people show."""
        owner = self.canvas.labels // PARTS
        return ((owner > people.start) & (owner <= people.stop)).astype(np.uint8)

    def _annotation(
        self, mask: Image, keypoints: Sequence[float | int], labelled: int, *, crowd: bool = False
    ) -> Annotation:
        fine = Canvas.FINE
        x, y, b, c = (float(v) / fine for v in cv2.boundingRect(mask))
        return {
            "category_id": PERSON,
            "iscrowd": int(crowd),
            "num_keypoints": labelled,
            "keypoints": list(keypoints),
            "bbox": [x, y, b, c],
            "area": float(np.count_nonzero(mask)) / fine**2,
            "segmentation": _run_lengths(mask[::fine, ::fine]) if crowd else _polygons(mask),
        }


def _polygons(mask: Image) -> list[list[float]]:
    """Outlines of a mask at twice the resolution, as COCO's polygons; slivers become rectangles."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for outline in outlines:
        corners = cv2.approxPolyDP(outline, 0.8, True).reshape(-1, 2) + 0.5
        if len(corners) < 3:
            x, y, b, c = cv2.boundingRect(outline)
            corners = np.array([(x, y), (x + b, y), (x + b, y + c), (x, y + c)])
        polygons.append([round(float(v) / Canvas.FINE, 2) for v in corners.ravel()])
    return polygons


def _run_lengths(mask: Image) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask (H, W): down the columns, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    counts = [int(run) for run in runs]
    return {"counts": [0, *counts] if flat[0] else counts, "size": [int(n) for n in mask.shape]}
