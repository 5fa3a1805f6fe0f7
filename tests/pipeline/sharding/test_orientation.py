"""Pictures that are stored turned: sharding, training, scoring, drawing and predicting see one and the same."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lhrnet.coco import KEYPOINTS
from lhrnet.image_file import read_image
from pipeline.data.augment import NONE, prepare
from pipeline.data.index import read_index
from pipeline.data.samples import read_raw_images, read_samples
from pipeline.data.show import draw_samples
from pipeline.sharding.plan import make_plans
from pipeline.sharding.verify import verify
from pipeline.sharding.write import SplitReport, write_split

NOSE = (26, 22)


def marked(width: int, height: int) -> np.ndarray:
    """Grey, with a white square where the nose is."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[NOSE[1] - 6 : NOSE[1] + 6, NOSE[0] - 6 : NOSE[0] + 6] = 255
    return image


def source(root: Path, stored: np.ndarray, orientation: int, form: str, size: tuple[int, int]) -> Path:
    """A data set in COCO's layout of one picture that states an orientation, and of one annotated person."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, form, exif=exif, quality=95)
    (root / "train2017" / "1.jpg").write_bytes(file.getvalue())
    points = [*NOSE, 2, *[0] * 48]
    person = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 99.0, "bbox": [1, 1, 30, 30],
              "num_keypoints": 1, "keypoints": points}  # fmt: skip
    tree = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": size[0], "height": size[1]}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}],
    }
    (root / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(tree))
    return root


def sharded(root: Path) -> SplitReport:
    (plan,) = make_plans(str(root), str(root / "shards"), ["train2017"])
    return write_split(plan)


def laid_down(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores of an upright picture."""
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    exif = Image.Exif()
    exif[0x112] = back
    file = io.BytesIO()
    Image.fromarray(upright).save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(file)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "width", "height"), [(2, 96, 64), (3, 96, 64), (6, 64, 64), (6, 64, 96), (8, 96, 64)]
)
def test_a_nose_annotated_upright_is_found_where_it_is(
    orientation: int, width: int, height: int, form: str, tmp_path: Path
) -> None:
    root = source(tmp_path, laid_down(marked(width, height), orientation), orientation, form, (width, height))
    report = sharded(root)
    assert report.problems == ()
    _all_see_the_nose(report.url, tmp_path)
    assert read_image(root / "train2017" / "1.jpg")[NOSE[1], NOSE[0]].min() > 200


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_a_nose_annotated_on_the_picture_as_it_is_stored_is_found_there(form: str, tmp_path: Path) -> None:
    report = sharded(source(tmp_path, marked(96, 64), 6, form, (96, 64)))
    assert report.problems == ()
    _all_see_the_nose(report.url, tmp_path)


def _all_see_the_nose(url: str, tmp_path: Path) -> None:
    assert verify(url).faults == ()
    (scored,) = read_samples(url)
    assert scored.image.shape == (scored.height, scored.width, 3)
    assert scored.image[NOSE[1], NOSE[0]].min() > 200
    (raw,) = read_raw_images(url, read_index(url).shards, {1})
    for size in (128, 24, 12):  # decoded whole, at a half and at a quarter
        trained = prepare(
            raw.jpeg,
            raw.ignore_png,
            raw.annotations,
            width=raw.width,
            height=raw.height,
            size=size,
            config=NONE,
            key=(0, 0, 1),
        )
        x, y = (int(value) for value in trained.joints[0, 0, :2])
        assert trained.image[y, x].min() > 150
    assert len(draw_samples(url, tmp_path / "shown", count=1, size=64, augment=NONE)) == 1


def test_a_picture_that_fits_neither_way_is_left_out_and_its_orientation_named(tmp_path: Path) -> None:
    root = source(tmp_path, marked(96, 64), 6, "JPEG", (97, 64))
    with pytest.raises(ValueError, match=r"the image is 64x96 \(turned as its orientation 6 says\) and its annotation"):
        sharded(root)
