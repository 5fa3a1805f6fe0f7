"""Statistics of a split, as a table and as a plot."""

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.index import ShardIndex, read_index, truth
from pipeline.storage import store

MEDIUM, LARGE = 32**2, 96**2
"""COCO's bounds of area, in pixels, between small, medium and large people."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """A split in numbers. Crowds do not count as people."""

    index: ShardIndex
    images: int
    labelled_images: int
    people: int
    labelled_people: int
    crowds: int
    keypoints: int
    visible: int
    """Keypoints that are labelled and visible (v = 2)."""
    small: int
    medium: int
    large: int
    """Labelled people by COCO's size classes."""
    people_per_image: Counter[int]
    """Images by their number of labelled people, where there are any."""
    keypoints_per_person: Counter[int]
    by_keypoint: NDArray[np.int64]
    """(K, 2): hidden and visible labels of each keypoint."""
    sides: NDArray[np.int64]
    """(images, 2) width, height."""

    def rows(self) -> list[tuple[str, str]]:
        """A table: name and value."""
        widths, heights = self.sides.T
        people = max(self.labelled_people, 1)
        return [
            ("split", f"{self.index.dataset} {self.index.split}"),
            ("shards", f"{len(self.index.shards)} of at most {self.index.per_shard}, {self.index.bytes / 1e6:.1f} MB"),
            ("images", f"{self.images:,} ({self.labelled_images:,} with labelled people)"),
            ("left out", f"{len(self.index.left_out):,}"),
            ("size", f"{widths.min()}-{widths.max()} x {heights.min()}-{heights.max()}, "
                     f"median {int(np.median(widths))} x {int(np.median(heights))}"),
            ("people", f"{self.people:,} ({self.labelled_people:,} labelled, and {self.crowds:,} crowds)"),
            ("keypoints", f"{self.keypoints:,} ({self.visible:,} visible), {self.keypoints / people:.1f} a person"),
            ("people by area", f"small {self.small:,}, medium {self.medium:,}, large {self.large:,}"),
        ]  # fmt: skip


def statistics(url: str) -> Statistics:
    """Count a split from its index and ground truth; no shard is read.

    Raises:
        FileNotFoundError, ValueError: index or ground truth are missing or damaged.
    """
    index = read_index(url)
    tree = truth(url, index)
    people = [a for a in tree["annotations"] if not a["iscrowd"]]
    labelled = [a for a in people if a["num_keypoints"]]
    flags = np.array([a["keypoints"][2::3] for a in labelled], np.int64).reshape(-1, index.skeleton.count)
    areas = np.array([a["area"] for a in labelled], np.float64)
    an_image = Counter(a["image_id"] for a in labelled)
    return Statistics(
        index=index,
        images=index.images,
        labelled_images=len(an_image),
        people=len(people),
        labelled_people=len(labelled),
        crowds=len(tree["annotations"]) - len(people),
        keypoints=int((flags > 0).sum()),
        visible=int((flags == 2).sum()),
        small=int((areas < MEDIUM).sum()),
        medium=int(((areas >= MEDIUM) & (areas < LARGE)).sum()),
        large=int((areas >= LARGE).sum()),
        people_per_image=Counter(an_image.values()),
        keypoints_per_person=Counter(a["num_keypoints"] for a in labelled),
        by_keypoint=np.stack([(flags == 1).sum(0), (flags == 2).sum(0)], axis=1),
        sides=np.array([(image["width"], image["height"]) for image in tree["images"]], np.int64),
    )


def plot(stats: Statistics, path: Path) -> None:
    """Plot the counts into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 2)
    _bars(axes[0, 0], stats.people_per_image, "labelled people per image", "images")
    _bars(axes[0, 1], stats.keypoints_per_person, "labelled keypoints per person", "people")
    names = [name.replace("_", " ") for name in stats.index.skeleton.keypoints]
    axes[1, 0].barh(names, stats.by_keypoint[:, 1], color="#2a7de1", label="visible")
    axes[1, 0].barh(names, stats.by_keypoint[:, 0], left=stats.by_keypoint[:, 1], color="#f5a623", label="hidden")
    axes[1, 0].invert_yaxis()
    axes[1, 0].legend()
    axes[1, 0].set_xlabel("labels")
    axes[1, 1].scatter(*stats.sides.T, s=8, alpha=0.3, color="#2a7de1")
    axes[1, 1].set(xlabel="width", ylabel="height")
    figure.suptitle(f"{stats.index.dataset} {stats.index.split}: {stats.images:,} images, {stats.people:,} people")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    store.write_bytes(str(path), png.getvalue())


def _bars(axis: Any, counts: Counter[int], label: str, unit: str) -> None:
    axis.bar(list(counts), list(counts.values()), color="#2a7de1")
    axis.set(xlabel=label, ylabel=unit)
