"""Pictures through a predictor into a folder: drawn people, COCO results, and how fast it went."""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lhrnet.coco import MAX_DETECTIONS
from lhrnet.draw import draw_people
from lhrnet.person import Person
from pipeline import storage
from pipeline.footage import Image, Picture, Stream, files, is_stream, read_files
from pipeline.predictor import Predictor

MOST_PIXELS = 100_000_000
"""Pixels of pictures that are held at a time."""
LEGIBLE = 384
"""Short side, in pixels, to which small pictures are enlarged for drawing."""
LARGEST = 2048
"""Long side up to which they are."""


@dataclass(kw_only=True)
class Shown:
    """What came of it."""

    images: list[dict[str, Any]] = field(default_factory=list)
    """id, file_name, width, height of every picture that could be read."""
    detections: list[dict[str, Any]] = field(default_factory=list)
    """COCO results, at most 20 a picture."""
    errors: list[str] = field(default_factory=list)
    """One line for every picture that could not be read."""
    seconds: float = 0.0
    """Everything: reading, predicting, drawing and writing."""


def show(
    predictor: Predictor,
    sources: list[str],
    out: Path,
    *,
    least_score: float = 0.2,
    draw: bool = True,
    most: int | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> Shown:
    """Predict images, folders or one video or camera.

    `out` then holds `results.json` (COCO's results format), `images.json` (which image id is which picture) and, drawn,
    a picture for every image or one video.

    Args:
        predictor: the network.
        sources: images and folders, or one video or camera.
        out: a folder; made if it is not there.
        least_score: people below are not drawn (they stand in the results).
        draw: write pictures too.
        most: pictures after which to stop; a camera has no other end.
        on_done: told how many pictures were done.

    Raises:
        FileNotFoundError: a source is not there.
        ValueError: a video stands among other sources, or none of the pictures could be read.
    """
    begun = time.perf_counter()
    streams = [source for source in sources if is_stream(source)]
    if streams and len(sources) > 1:
        raise ValueError(f"{streams[0]} is a video or camera: give it alone, not among {len(sources)} sources")
    shown = Shown()
    if streams:
        stream = Stream(streams[0])
        try:
            _stream(predictor, stream, out, shown, least_score, draw, most, on_done)
        finally:
            stream.close()
    else:
        _files(predictor, files(sources)[:most], out, shown, least_score, draw, on_done)
    if not shown.images:
        raise ValueError(f"nothing could be read; first: {shown.errors[0] if shown.errors else 'no frame'}")
    for name, content in (("results.json", shown.detections), ("images.json", shown.images)):
        storage.write_bytes(str(out / name), json.dumps(content).encode())
    shown.seconds = time.perf_counter() - begun
    return shown


def _files(
    predictor: Predictor,
    paths: list[Path],
    out: Path,
    shown: Shown,
    least_score: float,
    draw: bool,
    on_done: Callable[[int], None],
) -> None:
    place = dict(zip(map(str, paths), zip(image_ids(paths), drawn_names(paths), strict=True), strict=True))
    for pictures in _windows(read_files(paths), 4 * predictor.batch):
        for picture, image, people in _predicted(predictor, pictures, shown):
            image_id, name = place[picture.name]
            _record(shown, image_id, picture.name, image, people)
            if draw:
                drawn = draw_people(image, people, scale=enlargement(image), least_score=least_score)
                written, jpeg = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
                if written:
                    storage.write_bytes(str(out / name), jpeg.tobytes())
                else:
                    shown.errors.append(f"{picture.name}: {drawn.shape[1]}x{drawn.shape[0]} is too large for a JPEG")
        on_done(len(pictures))


def _stream(
    predictor: Predictor,
    stream: Stream,
    out: Path,
    shown: Shown,
    least_score: float,
    draw: bool,
    most: int | None,
    on_done: Callable[[int], None],
) -> None:
    writer: cv2.VideoWriter | None = None
    name = f"camera-{stream.source}" if stream.source.isdigit() else Path(stream.source).stem
    out.mkdir(parents=True, exist_ok=True)
    frames = (picture for _, picture in zip(range(most), stream, strict=False)) if most else iter(stream)
    window = 1 if stream.source.isdigit() else predictor.batch
    try:
        for pictures in _windows(frames, window):
            for picture, image, people in _predicted(predictor, pictures, shown):
                _record(shown, len(shown.images), picture.name, image, people)
                if draw:
                    drawn = draw_people(image, people, scale=enlargement(image), least_score=least_score)
                    if writer is None:
                        size = drawn.shape[1], drawn.shape[0]
                        code = cv2.VideoWriter.fourcc(*"mp4v")
                        writer = cv2.VideoWriter(str(out / f"{name}.mp4"), code, stream.rate, size)
                    writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            on_done(len(pictures))
    finally:
        if writer is not None:
            writer.release()


def _windows(pictures: Iterable[Picture], most: int) -> Iterator[list[Picture]]:
    """So many pictures at a time, fewer of huge ones."""
    window: list[Picture] = []
    pixels = 0
    for picture in pictures:
        window.append(picture)
        pixels += 0 if picture.image is None else picture.image.shape[0] * picture.image.shape[1]
        if len(window) == most or pixels > MOST_PIXELS:
            yield window
            window, pixels = [], 0
    if window:
        yield window


def _predicted(
    predictor: Predictor, pictures: list[Picture], shown: Shown
) -> Iterator[tuple[Picture, Image, list[Person]]]:
    shown.errors += [picture.error for picture in pictures if picture.image is None]
    read = [(picture, picture.image) for picture in pictures if picture.image is not None]
    people = predictor.many([image for _, image in read])
    for (picture, image), found in zip(read, people, strict=True):
        yield picture, image, found[:MAX_DETECTIONS]


def _record(shown: Shown, image_id: int, name: str, image: Image, people: list[Person]) -> None:
    height, width = image.shape[:2]
    shown.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    shown.detections += [person.to_coco(image_id) for person in people]


def image_ids(paths: list[Path]) -> list[int]:
    """COCO's ids where every file is named after one (000000000785.jpg), else 1, 2, 3..."""
    stems = [path.stem for path in paths]
    if all(stem.isdecimal() for stem in stems) and len(set(map(int, stems))) == len(stems):
        return [int(stem) for stem in stems]
    return np.arange(1, len(paths) + 1).tolist()


def enlargement(image: Image) -> int:
    """Times by which a small picture is drawn larger, so that skeletons can be seen; a narrow strip is not."""
    short, long = sorted(image.shape[:2])
    return int(max(1, min(math.ceil(LEGIBLE / short), LARGEST // long)))


def drawn_names(paths: list[Path]) -> list[str]:
    """Where each picture is drawn: as it lies below their common folder, as .jpg; a.png beside a.jpg: as a.png.jpg."""
    parents = [path.resolve().parent for path in paths]
    root = os.path.commonpath(parents) if parents else ""
    places = [parent.relative_to(root) / path.name for parent, path in zip(parents, paths, strict=True)]
    plain = Counter(place.with_suffix("") for place in places)
    return [str(place.with_suffix(".jpg") if plain[place.with_suffix("")] == 1 else f"{place}.jpg") for place in places]
