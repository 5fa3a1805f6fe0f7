"""Where the labelled people of a scene stand, and how tall: side by side, or near and far with bodies that cross."""

from collections.abc import Iterator

import numpy as np

from pipeline.scenes.canvas import Points
from pipeline.scenes.scene_config import SceneConfig


def places(rng: np.random.Generator, h: int, w: int, config: SceneConfig) -> Iterator[tuple[float, Points]]:
    """Heights in pixels and middles (2,) of a scene's people, the far ones first.

    The generator draws from `rng` as it goes, so whoever poses the people with the same `rng` takes turns with it.
    """
    count = int(rng.integers(1, config.people + 1))
    if config.depth or config.crossing:
        yield from _near_and_far(rng, h, w, config, count)
        return
    middle = (config.smallest + config.largest) / 2
    typical = rng.uniform(config.smallest, config.largest if count < 3 else middle)
    heights = np.clip(typical * rng.uniform(0.8, 1.25, count), config.smallest, config.largest)
    slots = rng.permutation((np.arange(count) + 0.5) / count + rng.normal(0.0, 0.07 / count**0.5, count))
    for slot, height in zip(slots, np.sort(heights) * h, strict=True):
        top, bottom = 0.54 * height, h - 0.5 * height
        y = rng.uniform(top, bottom) if bottom > top else (top + bottom) / 2
        x = float(slot) * w
        if rng.random() < config.cut:
            x, y = _cut(rng, w, height, x, y, bottom)
        yield height, np.array([x, y])


def _near_and_far(
    rng: np.random.Generator, h: int, w: int, config: SceneConfig, count: int
) -> Iterator[tuple[float, Points]]:
    """People on one ground that rises to a horizon: who is half as tall stands half as far below it."""
    smallest, largest = config.smallest, config.largest
    if count > 3:  # many people leave no room for several giants
        largest = max(smallest, largest * (3.0 / count) ** 0.4)
    typical = smallest * (largest / smallest) ** rng.random()
    near, far = np.clip(typical * np.array([1.0 + config.depth, 1.0 / (1.0 + 2.0 * config.depth)]), smallest, largest)
    heights = np.sort(far * (near / far) ** rng.random(count)) * h
    horizon = rng.uniform(0.15, 0.45) * h
    slope = (rng.uniform(0.8, 1.0) * h - horizon) / heights[-1]
    spots: list[tuple[float, float]] = []
    for height in heights:
        feet = min(horizon + slope * height, h) + rng.normal(0.0, 0.05) * height
        x, y = rng.uniform(0.05, 0.95) * w, max(float(feet), 0.9 * height) - 0.5 * height
        if spots and rng.random() < config.crossing:
            other, tall = spots[int(rng.integers(len(spots)))]
            x = other + rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.25) * tall
        if rng.random() < config.cut:
            x, y = _cut(rng, w, float(height), x, y, h - 0.5 * float(height))
        spots.append((x, float(height)))
        yield float(height), np.array([x, y])


def _cut(rng: np.random.Generator, w: int, height: float, x: float, y: float, lowest: float) -> tuple[float, float]:
    """The middle of a person who stands half outside, below the picture or at one of its sides."""
    if rng.random() < 0.6:
        return x, lowest + rng.uniform(0.1, 0.4) * height
    return float(rng.choice([0.0, w])) + rng.normal(0.0, 0.08) * height, y
