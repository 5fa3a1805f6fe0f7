"""What prediction promises: perfect maps come back as the people they were drawn from, whatever the road."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lhrnet.coco import FLIP_INDEX, K
from lhrnet.inference import PROTOCOLS, FromPixels, InferenceProtocol
from lhrnet.metrics.coco_eval import score
from lhrnet.normalise import MEAN, STD
from lhrnet.predictor import Predictor

Array = NDArray[np.float64]
REACH = 8


def picture(width: int, height: int, number: int) -> NDArray[np.uint8]:
    """An image that says where each pixel lies (red: x, green: y) and which image it is (blue)."""
    image = np.empty((height, width, 3))
    image[..., 0] = 20 + 215 * (np.arange(width) + 0.5) / width
    image[..., 1] = (20 + 215 * (np.arange(height) + 0.5) / height)[:, None]
    image[..., 2] = 50 + number
    return np.round(image).astype(np.uint8)


class PerfectNetwork(nn.Module):
    """Reads from the pixels which image it sees and how it was resized or mirrored, and draws its people's maps."""

    def __init__(self, people: Sequence[Array], sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.people, self.sizes = people, sizes

    def forward(self, inputs_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        pixels = (inputs_B3HW.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)).mul(255).double().numpy()
        joints = [self.where(image) for image in pixels]
        height, width = inputs_B3HW.shape[2:]
        quarter = np.stack([draw(people, width // 4, height // 4, 4) for people in joints])
        half = np.stack([draw(people, width // 2, height // 2, 2) for people in joints])
        return torch.from_numpy(quarter), torch.from_numpy(half)

    def where(self, image: Array) -> Array:
        """(P, 17, 3) joints in the input's pixels."""
        blue = np.median(image[..., 2][image[..., 2] > 49])
        filled = np.abs(image[..., 2] - blue) < 0.3
        rows, columns = (np.flatnonzero(n > n.max() / 2) for n in (filled.sum(axis=1), filled.sum(axis=0)))
        inner = image[np.ix_(rows, columns)]
        number = round(blue) - 50
        width, height = self.sizes[number]
        across, left = np.polyfit(columns + 0.5, (inner[..., 0].mean(axis=0) - 20) / 215 * width, 1)
        down, top = np.polyfit(rows + 0.5, (inner[..., 1].mean(axis=1) - 20) / 215 * height, 1)
        joints = self.people[number].copy()
        joints[..., 0] = (joints[..., 0] - left) / across
        joints[..., 1] = (joints[..., 1] - top) / down
        return joints[:, FLIP_INDEX] if across < 0 else joints


def draw(people_PK3: Array, width: int, height: int, stride: int) -> NDArray[np.float32]:
    """(34, h, w) heatmaps, then tags: ten times the number of the person whose joint is nearest.

    Around a joint that is the nearest one of its own kind, elsewhere the nearest of any kind.
    """
    maps = np.zeros((2 * K, height, width), dtype=np.float32)
    maps[K:] = territory(people_PK3 / (stride, stride, 1), width, height)
    nearest = np.full((K, height, width), np.inf)
    ys, xs = np.mgrid[:height, :width] + 0.5
    for number, person in enumerate(people_PK3 / (stride, stride, 1)):
        for k, (x, y, flag) in enumerate(person):
            if flag > 0 and 0 <= x < width and 0 <= y < height:
                rows = slice(max(0, int(y) - REACH), int(y) + REACH + 1)
                columns = slice(max(0, int(x) - REACH), int(x) + REACH + 1)
                square = (xs[rows, columns] - x) ** 2 + (ys[rows, columns] - y) ** 2
                heat, tags, so_far = maps[k, rows, columns], maps[K + k, rows, columns], nearest[k, rows, columns]
                np.maximum(heat, np.exp(-square / 8), out=heat, casting="unsafe")
                tags[square < so_far] = 10 * number
                np.minimum(so_far, square, out=so_far)
    return maps


def territory(people_PK3: Array, width: int, height: int) -> NDArray[np.float32]:
    """(h, w) ten times the number of the person with the nearest joint."""
    owner = np.full((height, width), -1)
    for number, person in enumerate(people_PK3):
        for x, y, flag in person:
            if flag > 0 and 0 <= x < width and 0 <= y < height:
                owner[int(y), int(x)] = number
    if (owner < 0).all():
        return np.zeros((height, width), np.float32)
    empty = (owner < 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(labels.max() + 1, np.float32)
    of_label[labels[owner >= 0]] = 10 * owner[owner >= 0]
    return np.asarray(of_label[labels])


def annotated(coco_mini: Path) -> dict[str, Any]:
    """All annotations of coco-mini's images with a labelled person, and of those that came without pixels."""
    truth: dict[str, Any] = {"images": [], "annotations": []}
    for split in ("train2017", "val2017", "val2017_annonly"):
        one = json.loads((coco_mini / "annotations" / f"person_keypoints_{split}.json").read_text())
        truth["categories"] = one["categories"]
        truth["annotations"] += one["annotations"]
        labelled = {a["image_id"] for a in one["annotations"] if a["num_keypoints"]}
        truth["images"] += [image for image in one["images"] if image["id"] in labelled]
    return truth


def recovered(truth: dict[str, Any], images: Sequence[dict[str, Any]], protocol: InferenceProtocol, size: int) -> float:
    """AP of perfect maps over these images."""
    detections = []
    for first in range(0, len(images), 200):
        some = images[first : first + 200]
        people = [
            np.array(
                [a["keypoints"] for a in truth["annotations"] if a["image_id"] == image["id"] and a["num_keypoints"]],
                dtype=np.float64,
            ).reshape(-1, K, 3)
            for image in some
        ]
        sizes = [(image["width"], image["height"]) for image in some]
        pictures = [picture(*sides, number) for number, sides in enumerate(sizes)]
        found = Predictor(PerfectNetwork(people, sizes), size, protocol).many(pictures)
        detections += [p.to_coco(image["id"]) for image, of in zip(some, found, strict=True) for p in of]
    return score(truth, detections, [image["id"] for image in images]).ap


def shrunk(truth: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same people in pictures of another size."""
    triplet = np.array([factor, factor, 1])
    return truth | {
        "images": [
            image | {"width": round(image["width"] * factor), "height": round(image["height"] * factor)}
            for image in truth["images"]
        ],
        "annotations": [
            a
            | {
                "keypoints": (np.reshape(a["keypoints"], (K, 3)) * triplet).ravel().tolist(),
                "bbox": [v * factor for v in a["bbox"]],
                "area": a["area"] * factor**2,
            }
            for a in truth["annotations"]
        ],
    }


@pytest.mark.parametrize("shape", ["portrait", "landscape", "tiny"])
@pytest.mark.parametrize(("name", "count"), [("plain", 10), ("flip", 6), ("multi-scale", 2)])
def test_perfect_maps_come_back(coco_mini: Path, name: str, count: int, shape: str) -> None:
    truth = annotated(coco_mini)
    if shape == "tiny":
        truth = shrunk(truth, 0.1)
        assert min(truth["images"][0]["width"], truth["images"][0]["height"]) < 64
    images = [i for i in truth["images"] if shape == "tiny" or (i["width"] < i["height"]) == (shape == "portrait")]
    assert recovered(truth, images[:: len(images) // count][:count], PROTOCOLS[name], 448) >= 0.99


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_perfect_maps_of_every_annotated_image_come_back(coco_mini: Path, name: str) -> None:
    truth = annotated(coco_mini)
    assert len(truth["images"]) >= 330
    assert recovered(truth, truth["images"], PROTOCOLS[name], 448) >= 0.99


class Spots(nn.Module):
    """Takes each green spot for a person, its joints around it at fixed places, and red for the tag.

    Like a trained network it mirrors with the image, left and right changing places.
    """

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(5)
        places = random.uniform(-8, 8, (K, 2))
        places = (places + places[list(FLIP_INDEX)] * (-1, 1)) / 2
        steps = np.mgrid[-12:13, -12:13]
        squares = (steps[1] - places[:, 0, None, None]) ** 2 + (steps[0] - places[:, 1, None, None]) ** 2
        self.weight = torch.from_numpy(np.exp(-squares / 18) / 60).float()[:, None]

    def forward(self, inputs_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        colours = inputs_B3HW * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        heat = nn.functional.conv2d(colours[:, 1:2], self.weight, padding=12)
        tags = 6 * colours[:, :1].expand(-1, K, -1, -1)
        half, quarter = (nn.functional.avg_pool2d(torch.cat([heat, tags], dim=1), stride) for stride in (2, 4))
        return quarter, half


def spots(width: int, height: int) -> NDArray[np.uint8]:
    """Three green spots, with red rising from top to bottom."""
    ys, xs = np.mgrid[:height, :width] + 0.5
    green = sum(
        np.exp(-((xs - x * width) ** 2 + (ys - y * height) ** 2) / 12)
        for x, y in ((0.24, 0.23), (0.71, 0.52), (0.33, 0.81))
    )
    red = ys / height
    return np.round(255 * np.stack([red, green, 0 * red], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("name", ["plain", "flip"])
@pytest.mark.parametrize(("width", "height"), [(161, 120), (90, 133)])
def test_flipping_an_image_flips_its_prediction(width: int, height: int, name: str) -> None:
    """A shift of half a pixel anywhere would show twice over."""
    image = spots(width, height)
    ours, mirrored = Predictor(Spots(), 128, name).many([image, np.ascontiguousarray(image[:, ::-1])])
    assert len(ours) == len(mirrored) == 3
    for person, other in zip(ours, mirrored, strict=True):
        back = other.keypoints[list(FLIP_INDEX)]
        back[:, 0] = width - back[:, 0]
        np.testing.assert_allclose(back, person.keypoints, atol=0.01)
        assert person.found.all()


def test_images_of_many_sizes_come_back_in_their_order() -> None:
    sizes = [(64, 48), (48, 64), (64, 48), (200, 64), (64, 64), (64, 48)]
    people = [np.full((1, K, 3), (10.0 + 5 * n, 20.0, 2.0)) for n in range(len(sizes))]
    for n, person in enumerate(people):
        person[0, :, 1] += np.arange(K)
        person[0, :, 0] += n
    pictures = [picture(*size, n) for n, size in enumerate(sizes)]
    with ThreadPoolExecutor(2) as pool:
        predictor = Predictor(PerfectNetwork(people, sizes), 128, batch=2, pool=pool)
        found = predictor.many(pictures)
    for of_image, person in zip(found, people, strict=True):
        np.testing.assert_allclose(of_image[0].keypoints[:, :2], person[0, :, :2], atol=0.3)
    timings = predictor.timings
    assert timings.images == len(sizes)
    assert min(timings.resize, timings.network, timings.decode) > 0


def test_no_images_and_empty_images() -> None:
    assert Predictor(Spots(), 128).many([]) == []
    nobody = PerfectNetwork([np.zeros((0, K, 3))], [(64, 48)])
    assert Predictor(nobody, 128)(picture(64, 48, 0)) == []


def test_wrong_images_and_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match="image 1 is uint8"):
        Predictor(Spots(), 128).many([picture(64, 48, 0), np.zeros((48, 64), np.uint8)])
    with pytest.raises(ValueError, match=r"protocol is 'fastest'.*plain, flip, multi-scale"):
        Predictor(Spots(), 128, "fastest")
    with pytest.raises(ValueError, match="scales"):
        InferenceProtocol(name="x", scales=(0.5, 2.0))


def test_a_network_in_training_is_put_into_eval_mode() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), Spots())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Predictor(network, 64)(picture(64, 48, 0))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_that_takes_pixels_is_used_as_it_is() -> None:
    image = spots(96, 64)
    plain, exported = Spots(), FromPixels(Spots())
    for name in ("plain", "flip"):
        wanted, found = Predictor(plain, 64, name)(image), Predictor(exported, 64, name)(image)
        assert len(wanted) == len(found) > 0
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)
