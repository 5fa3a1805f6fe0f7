"""One scene: people arranged, painted, and annotated from what the finished picture shows."""

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import PERSON
from lhrnet.skeleton import COCO
from pipeline.scenes.backgrounds import paint_background, paint_clutter
from pipeline.scenes.camera import finish, light_up, smear
from pipeline.scenes.canvas import PARTS, Canvas, Points
from pipeline.scenes.casting import subject_of
from pipeline.scenes.outlines import polygons, run_lengths
from pipeline.scenes.places import places
from pipeline.scenes.scene_config import SceneConfig
from pipeline.scenes.subject import Drawn, Manner, Subject

Image = NDArray[np.uint8]
Annotation = dict[str, Any]

_ATTEMPTS: Final = 12
_FEWEST_SEEN: Final = 6
"""A drawn object must show at least this many of 17 keypoints; otherwise the scene is arranged anew."""
_FEWEST_VISIBLE: Final = 3
"""Where bodies cross, who shows fewer keypoints is annotated without any, as COCO does with those who hardly show."""


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
        if config.crossing or all(person["num_keypoints"] >= fewest for person in scene.people):
            break
    image = np.asarray(cv2.resize(scene.canvas.image, (w, h), interpolation=cv2.INTER_AREA))
    if config.lighting and rng.random() < 0.75:
        image = light_up(rng, image, config.lighting * float(rng.uniform(0.4, 1.0)))
    if config.blur and rng.random() < config.blur / 2:
        smear(rng, image, np.ones((h, w), np.uint8), float(rng.uniform(0.015, 0.03)) * config.size)
    return finish(rng, image), scene.people + scene.unlabelled()


class _Scene:
    """One arrangement of people, painted; its label map answers what can be seen."""

    def __init__(self, rng: np.random.Generator, h: int, w: int, config: SceneConfig, subject: Subject) -> None:
        self.rng, self.h, self.w, self.config, self.subject = rng, h, w, config, subject
        self.canvas = Canvas(paint_background(rng, h * Canvas.FINE, w * Canvas.FINE))
        paint_clutter(rng, self.canvas.image, config.clutter)
        self.drawn: list[Drawn] = []
        self.far: list[range] = []
        self.people: list[Annotation] = []
        """Annotations of those with keypoints."""
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
        first = len(self.drawn)
        for height, middle in places(rng, self.h, self.w, config):
            self._stand(height, middle)
        if rng.random() < config.occluder:
            self._stand_in_front()
        for person in range(first, len(self.drawn)):
            annotation = self._labelled(person)
            if config.crossing and annotation["keypoints"][2::3].count(2) < _FEWEST_VISIBLE:
                self.far.append(range(person, person + 1))
            else:
                self.people.append(annotation)
            if config.blur and rng.random() < config.blur:
                mask = self._mask(range(person, person + 1))
                smear(rng, self.canvas.image, mask, float(rng.uniform(0.1, 0.3) * np.count_nonzero(mask) ** 0.5))

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
            "segmentation": run_lengths(mask[::fine, ::fine]) if crowd else polygons(mask),
        }
