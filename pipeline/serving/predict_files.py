"""Predict pictures into a folder: drawn people, COCO results, and how long it took."""

import json
import math
import os
import threading
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
from lhrnet.image_file import Image
from lhrnet.person import Person
from lhrnet.predictor import Predictor, Timings
from pipeline.cluster.stop_notice import asked_to_leave
from pipeline.serving.sources import WRITTEN, Picture, VideoSource, image_files, is_camera, is_stream, read_files
from pipeline.serving.video_writer import VideoWriter
from pipeline.storage import store

MAX_PIXELS = 100_000_000
"""Pixels of pictures that are held at a time."""
LEGIBLE = 384
"""Short side, in pixels, to which small pictures are enlarged for drawing."""
LARGEST = 2048
"""Long side up to which they are."""


@dataclass(kw_only=True)
class PredictedFiles:
    """What was found in the pictures, and how long it took."""

    images: list[dict[str, Any]] = field(default_factory=list)
    """id, file_name, width, height of every picture that could be read."""
    detections: list[dict[str, Any]] = field(default_factory=list)
    """COCO results, at most 20 a picture."""
    errors: list[str] = field(default_factory=list)
    """One line for every picture that could not be read, and for an end before the last one."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Other files of the folders, by the ending of their names."""
    interrupted: bool = False
    """Whether Ctrl-C or SIGTERM came before the last picture; a camera's end is no interruption."""
    seconds: float = 0.0
    """Everything: reading, predicting, drawing and writing."""

    def milliseconds(self, timings: Timings) -> dict[str, float]:
        """Where the time of a picture went, in milliseconds: resize, network, decode, and the rest.

        Args:
            timings: those of the predictor, which predicted nothing else.
        """
        parts = {"resize": timings.resize, "network": timings.network, "decode": timings.decode}
        parts["files and drawing"] = self.seconds - sum(parts.values())
        return {name: 1000 * seconds / len(self.images) for name, seconds in parts.items()}


def predict_files(
    predictor: Predictor,
    sources: list[str],
    out: str,
    *,
    min_score: float | None = None,
    draw: bool = True,
    max_pictures: int | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> PredictedFiles:
    """Predict images, folders or one video or camera.

    `out` then holds `results.json` (COCO's results format), `images.json` (which image id is which picture) and, drawn,
    a picture for every image or one video, which plays as fast as what it shows. Ctrl-C or SIGTERM ends it after the
    pictures that are being looked at, with the results so far; the second one at once.

    Args:
        predictor: the network.
        sources: images and folders, or one video or camera.
        out: a folder at a storage URL; made if it is not there.
        min_score: people below are not drawn (they stand in the results); None: the predictor's own.
        draw: write pictures too.
        max_pictures: pictures after which to stop; a camera's other end is Ctrl-C.
        on_done: told how many pictures were done.

    Raises:
        FileNotFoundError: a source is not there.
        ValueError: a video stands among other sources, none of the pictures could be read, a drawing would take the
            place of a source, or `out` cannot be written to.
        KeyboardInterrupt: it was asked to end before anything was done.
    """
    begun = time.perf_counter()
    if store.scheme(out) not in ("file", "s3"):
        raise ValueError(f"--out {out} can only be read; give a folder or s3://bucket/prefix")
    streams = [source for source in sources if is_stream(source)]
    if streams and len(sources) > 1:
        raise ValueError(f"{streams[0]} is a video or camera: give it alone, not among {len(sources)} sources")
    result = PredictedFiles()
    min_score = predictor.min_score if min_score is None else min_score
    with asked_to_leave() as leaving:
        if streams:
            name = video_name(streams[0])
            _keep_sources([Path(streams[0])], out, [name] if draw else [])
            stream = VideoSource(streams[0])
            try:
                with VideoWriter(store.join(out, name), stream.rate if draw else 1) as video:
                    _stream(
                        predictor, stream, video if draw else None, result, min_score, max_pictures, leaving, on_done
                    )
            finally:
                stream.close()
        else:
            paths = image_files(sources, result.passed_over)
            names = drawn_names(paths[:max_pictures])
            _keep_sources(paths, out, names if draw else [])
            place = dict(zip(map(str, paths), zip(image_ids(paths[:max_pictures]), names, strict=True), strict=False))
            _files(predictor, place, out if draw else None, result, min_score, leaving, on_done)
        result.interrupted = leaving.is_set() and not is_camera(sources[0])
    if leaving.is_set() and not result.images:
        raise KeyboardInterrupt
    if not result.images:
        raise ValueError(f"nothing could be read; first: {result.errors[0] if result.errors else 'no frame'}")
    if result.interrupted:
        result.errors.append(f"interrupted after {len(result.images)} pictures")
    for name, content in zip(WRITTEN, (result.detections, result.images), strict=True):
        store.write_bytes(store.join(out, name), json.dumps(content).encode())
    result.seconds = time.perf_counter() - begun
    return result


def _keep_sources(sources: list[Path], out: str, names: list[str]) -> None:
    """Refuse to write over what is read."""
    if not store.is_local(out):
        return
    read = {source.resolve() for source in sources}
    for name in names:
        if (store.local_path(out) / name).resolve() in read:
            raise ValueError(f"the drawing {name} would take the place of the original in {out}: give another --out")


def _files(
    predictor: Predictor,
    place: dict[str, tuple[int, str]],
    out: str | None,
    result: PredictedFiles,
    min_score: float,
    leaving: threading.Event,
    on_done: Callable[[int], None],
) -> None:
    """Predict files, each with its image id and the name of its drawing; `out` None: draw nothing."""
    for pictures in _windows(read_files([Path(name) for name in place]), 4 * predictor.batch):
        for picture, image, people in _predicted(predictor, pictures, result):
            image_id, name = place[picture.name]
            _record(result, image_id, picture.name, image, people)
            if out is not None:
                drawn = draw_people(image, people, predictor.skeleton, scale=enlargement(image), min_score=min_score)
                written, jpeg = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
                if written:
                    store.write_bytes(store.join(out, name), jpeg.tobytes())
                else:
                    result.errors.append(f"{picture.name}: {drawn.shape[1]}x{drawn.shape[0]} is too large for a JPEG")
        on_done(len(pictures))
        if leaving.is_set():
            return


def _stream(
    predictor: Predictor,
    stream: VideoSource,
    video: VideoWriter | None,
    result: PredictedFiles,
    min_score: float,
    max_pictures: int | None,
    leaving: threading.Event,
    on_done: Callable[[int], None],
) -> None:
    """Predict a video or camera, drawn into `video`; None: draw nothing."""
    frames = (
        (picture for _, picture in zip(range(max_pictures), stream, strict=False)) if max_pictures else iter(stream)
    )
    begun: float | None = None
    for pictures in _windows(frames, 1 if stream.is_camera else predictor.batch):
        for picture, image, people in _predicted(predictor, pictures, result):
            begun = begun or time.perf_counter()
            _record(result, len(result.images), picture.name, image, people)
            if video is not None:
                scale = enlargement(image)
                drawn = draw_people(image, people, predictor.skeleton, scale=scale, min_score=min_score)
                video.add(drawn, at=time.perf_counter() - begun if stream.is_camera else picture.time)
        on_done(sum(picture.image is not None for picture in pictures))
        if leaving.is_set():
            return


def _windows(pictures: Iterable[Picture], max_pictures: int) -> Iterator[list[Picture]]:
    """So many pictures at a time, fewer of huge ones."""
    window: list[Picture] = []
    pixels = 0
    for picture in pictures:
        window.append(picture)
        pixels += 0 if picture.image is None else picture.image.shape[0] * picture.image.shape[1]
        if len(window) == max_pictures or pixels > MAX_PIXELS:
            yield window
            window, pixels = [], 0
    if window:
        yield window


def _predicted(
    predictor: Predictor, pictures: list[Picture], result: PredictedFiles
) -> Iterator[tuple[Picture, Image, list[Person]]]:
    result.errors += [picture.error for picture in pictures if picture.image is None]
    read = [(picture, picture.image) for picture in pictures if picture.image is not None]
    people = predictor.many([image for _, image in read])
    for (picture, image), found in zip(read, people, strict=True):
        yield picture, image, found[:MAX_DETECTIONS]


def _record(result: PredictedFiles, image_id: int, name: str, image: Image, people: list[Person]) -> None:
    height, width = image.shape[:2]
    result.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    result.detections += [person.to_coco(image_id) for person in people]


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


def video_name(source: str) -> str:
    """What the drawn video of a video or camera is called."""
    return f"camera-{source}.mp4" if is_camera(source) else f"{Path(source).stem}.mp4"


def drawn_names(paths: list[Path]) -> list[str]:
    """Where each picture is drawn: as it lies below their common folder, as .jpg; a.png beside a.jpg: as a.png.jpg."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    root = os.path.commonpath([path.parent for path in absolute]) if paths else ""
    places = [path.relative_to(root) for path in absolute]
    short = [str(place.with_suffix(".jpg")) for place in places]
    long = [f"{place}.jpg" for place in places]
    wanted, taken = Counter(short), set(long)
    return [s if wanted[s] == 1 and s not in taken else lengthy for s, lengthy in zip(short, long, strict=True)]
