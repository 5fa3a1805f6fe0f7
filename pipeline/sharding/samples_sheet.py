"""A few images of a data set that is taken in, with what is annotated on them, on one sheet."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.draw import contact_sheet, draw_people
from lhrnet.image_file import decode
from lhrnet.person import Person
from pipeline.sharding.formats.recognise import Found

Image = NDArray[np.uint8]
TILE = 384
"""Pixels of the long side of each image at most."""


def samples_sheet(found: Found, count: int = 12) -> Image:
    """Draw images from the whole of every split, with limbs and keypoints.

    An image that is missing, damaged or of another size than its annotations say is a dark tile with the reason.

    Args:
        found: the data set.
        count: images at most.

    Raises:
        ValueError: no image has a labelled keypoint.
    """
    chosen: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = []
    each = -(-count // len(found.splits))
    for split, tree in found.splits.items():
        labelled: dict[int, list[dict[str, Any]]] = {}
        for annotation in tree["annotations"]:
            if annotation["num_keypoints"]:
                labelled.setdefault(annotation["image_id"], []).append(annotation)
        images = [image for image in tree["images"] if image["id"] in labelled]
        spread = dict.fromkeys(np.linspace(0, len(images) - 1, min(each, len(images))).astype(int).tolist())
        chosen += [(split, images[place], labelled[images[place]["id"]]) for place in spread]
    if not chosen:
        raise ValueError(f"{found.files.url}: no image has a labelled keypoint of {found.skeleton.category!r}")
    tiles, captions = zip(*(_tile(found, *sample) for sample in chosen[:count]), strict=True)
    return contact_sheet(tiles, captions=captions)


def _tile(found: Found, split: str, image: dict[str, Any], annotations: list[dict[str, Any]]) -> tuple[Image, str]:
    caption = f"{split}: {image['file_name'].rsplit('/', 1)[-1]}"
    try:
        pixels = decode(found.files.members[image["file_name"]].read(), (image["width"], image["height"]))
    except KeyError:
        return np.full((TILE // 2, TILE, 3), 60, np.uint8), f"{caption} is not there"
    except ValueError as error:
        return np.full((TILE // 2, TILE, 3), 60, np.uint8), f"{caption}: {error}"
    scale = min(1.0, TILE / max(pixels.shape[:2]))
    if scale < 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    shrunk = np.diag([pixels.shape[1] / image["width"], pixels.shape[0] / image["height"], 1])[:2]
    people = [Person.from_coco(annotation).moved(shrunk) for annotation in annotations]
    return draw_people(pixels, people, found.skeleton, scale=1, scores=False), caption


def png(image: Image) -> bytes:
    """(H, W, 3) RGB as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
