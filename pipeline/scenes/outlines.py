"""Masks of what a scene shows, in the two forms of COCO's segmentations."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scenes.canvas import Canvas

Mask = NDArray[np.uint8]


def polygons(mask: Mask) -> list[list[float]]:
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


def run_lengths(mask: Mask) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask (H, W): down the columns, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    counts = [int(run) for run in runs]
    return {"counts": [0, *counts] if flat[0] else counts, "size": [int(n) for n in mask.shape]}
