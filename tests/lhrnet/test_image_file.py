"""What decoding a picture promises: its colours, and which way up it is."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from lhrnet.image_file import decode, read_image
from lhrnet.orientation import orientation, turned, turned_back

LEFT, RIGHT = (200, 30, 20), (10, 60, 220)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")


def half_and_half(width: int = 60, height: int = 40) -> np.ndarray:
    """Red on the left, blue on the right, black in a corner, RGB: no turn and no mirror leaves it as it is."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = LEFT, RIGHT
    image[: height // 4, : width // 4] = 0
    return image


def written(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def test_colours_are_rgb_and_alpha_is_dropped(tmp_path: Path) -> None:
    bgr = half_and_half()[..., ::-1]
    for name, image in (("a.png", bgr), ("b.png", np.dstack([bgr, np.full((40, 60), 100, np.uint8)])), ("c.bmp", bgr)):
        found = read_image(written(tmp_path / name, np.ascontiguousarray(image)))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, half_and_half())


def test_grey_and_sixteen_bits_become_eight_bit_rgb(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    np.testing.assert_array_equal(read_image(written(tmp_path / "grey.png", ramp)), np.dstack([ramp] * 3))
    for suffix in ("png", "tif"):
        deep = read_image(written(tmp_path / f"deep.{suffix}", ramp.astype(np.uint16) * 257))
        assert np.abs(deep.astype(int) - np.dstack([ramp] * 3)).max() <= 1
    colour = np.dstack([ramp, ramp[:, ::-1], ramp]).astype(np.uint16) * 257
    assert read_image(written(tmp_path / "colour.png", colour)).shape == (8, 256, 3)


def stored(form: str, number: int, width: int = 60, height: int = 40) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file that states an orientation, its pixels as stored, and as Pillow turns them upright."""
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = Image.Exif()
    exif[0x112] = number
    file = io.BytesIO()
    pixels = Image.fromarray(half_and_half(width, height))
    pixels.save(file, form, exif=exif, **({"lossless": True} if form == "WEBP" else {"quality": 95}))
    with Image.open(file) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return file.getvalue(), half_and_half(width, height), upright


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and float(np.abs(found.astype(int) - wanted).mean()) < 12


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_is_upright_unless_its_annotation_fits_only_what_is_stored(form: str, number: int) -> None:
    content, raw, upright = stored(form, number)
    assert orientation(content) == number
    assert same(decode(content), upright)
    assert same(decode(content, (upright.shape[1], upright.shape[0])), upright)
    assert same(decode(content, (60, 40)), raw if number > 4 else upright)
    with pytest.raises(ValueError, match="and its annotation says 41x60") as told:
        decode(content, (41, 60))
    assert (f"40x60 (turned as its orientation {number} says)" in str(told.value)) == (number > 4)


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize("form", FORMATS)
def test_of_a_square_picture_both_ways_fit_and_upright_is_taken(form: str, number: int) -> None:
    content, _, upright = stored(form, number, 48, 48)
    assert same(decode(content, (48, 48)), upright)


@pytest.mark.parametrize("reduce", [1, 2, 4])
@pytest.mark.parametrize("number", [2, 5, 6, 7, 8])
def test_a_jpeg_decoded_smaller_is_the_same_way_up(number: int, reduce: int) -> None:
    """Also where both ways round up to one size: 61x62 at a quarter is 16x16."""
    for width, height in ((240, 160), (61, 62)):
        content, raw, upright = stored("JPEG", number, width, height)
        for wanted in (upright, raw) if number > 4 else (upright,):
            size = wanted.shape[1], wanted.shape[0]
            smaller = cv2.resize(wanted, (-(-size[0] // reduce), -(-size[1] // reduce)), interpolation=cv2.INTER_AREA)
            assert same(decode(content, size, reduce=reduce), smaller)


def test_turning_back_undoes_a_turn() -> None:
    for number in range(1, 9):
        np.testing.assert_array_equal(turned_back(turned(half_and_half(), number), number), half_and_half())


def test_what_a_camera_writes_before_and_around_the_orientation_is_passed_over() -> None:
    content, _, upright = stored("JPEG", 6)
    segment = b"\xff\xe1" + (34).to_bytes(2, "big") + b"http://ns.adobe.com/xap/1.0/\0xmp"
    padded = content[:2] + segment + b"\xff\xff" + content[2:]
    assert orientation(padded) == 6
    assert same(decode(padded), upright)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_anywhere_states_an_orientation_or_none(form: str) -> None:
    content, _, _ = stored(form, 6)
    assert {orientation(content[:length]) for length in range(len(content))} <= {1, 6}


def test_a_wrong_number_in_the_file_is_none() -> None:
    content, raw, _ = stored("JPEG", 6)
    place = content.index(b"\x12\x01\x03\0") if b"II*\0" in content else content.index(b"\x01\x12\0\x03")
    for value in (b"\0\0", b"\x09\x09", b"\xff\xff"):
        broken = content[: place + 8] + value + content[place + 10 :]
        assert orientation(broken) == 1
        assert same(decode(broken), raw)


def test_what_is_no_image_says_what_it_is(tmp_path: Path) -> None:
    for content, word in (
        (b"", "photo is empty"),
        (b"<html>", r"photo is not an image that can be decoded, or it is damaged \(6 bytes\)"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "photo is a HEIC picture.*save it as JPEG or PNG"),
    ):
        with pytest.raises(ValueError, match=word):
            decode(content, name="photo")
    with pytest.raises(FileNotFoundError, match=r"f\.jpg"):
        read_image(tmp_path / "f.jpg")
