"""What each kind of damage to shards, index and truth gives. Nothing is ever silently shorter."""

import hashlib
import io
import itertools
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.augment import NONE
from pipeline.data.index import INDEX, TRUTH, read_index, truth, truth_bytes
from pipeline.data.order import Cursor
from pipeline.data.reader import read_shard
from pipeline.data.samples import read_samples
from pipeline.data.show import draw_samples
from pipeline.data.stream import StreamConfig, TrainStream
from pipeline.sharding.verify import verify

SHARD = 2


def victim(folder: Path) -> Path:
    return folder / read_index(str(folder)).shards[SHARD].name


def train(folder: Any, rank: int = 0, world: int = 1, epochs: int = 1, **config: Any) -> list[list[int]]:
    """The image ids of each batch of a rank."""
    stream = TrainStream(
        str(folder),
        stream=StreamConfig(**{"lanes": 4, "loader_workers": 0, "window": 4, **config}),
        augment=NONE,
        size=32,
        global_batch=4,
        rank=rank,
        world=world,
        seed=1,
    )
    steps = stream.order.first_batch(epochs)
    batches = list(itertools.islice(stream.batches(Cursor()), steps))
    assert stream.skipped == sum(int((batch.image_ids < 0).sum()) for batch in batches)
    return [batch.image_ids.tolist() for batch in batches]


# Damage to bytes: the index tells.


def _edit(change: Callable[[bytearray], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray(victim(folder).read_bytes())
        change(data)
        victim(folder).write_bytes(data)

    return damage


def _second_image(data: bytes | bytearray) -> int:
    """Where the shard's second image begins."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()[2].offset


def _flip(data: bytearray, place: int) -> None:
    data[place] ^= 1


def _swap(folder: Path) -> None:
    shutil.copy(folder / read_index(str(folder)).shards[SHARD + 1].name, victim(folder))


BYTES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut within a member": (_edit(lambda d: d.__delitem__(slice(700, None))), "cut or changed"),
    "cut at a member's end": (_edit(lambda d: d.__delitem__(slice(_second_image(d), None))), "cut or changed"),
    "cut by one block at the end": (_edit(lambda d: d.__delitem__(slice(-512, None))), "cut or changed"),
    "empty": (_edit(lambda d: d.clear()), "has 0 bytes"),
    "longer": (_edit(lambda d: d.extend(bytes(512))), "cut or changed"),
    "missing": (lambda folder: victim(folder).unlink(), "missing"),
    "a bit of a picture": (_edit(lambda d: _flip(d, 900)), "sha256"),
    "a bit of a tar header": (_edit(lambda d: _flip(d, _second_image(d) + 3)), "sha256"),
    "a block of zeros": (_edit(lambda d: d.__setitem__(slice(512, 1024), bytes(512))), "sha256"),
    "other bytes of the same size": (_edit(lambda d: d.__setitem__(slice(None), bytes(len(d)))), "sha256"),
    "another shard under its name": (_swap, r"sha256|cut or changed"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_damaged_bytes_end_every_reader_and_name_the_shard(own_shards: Path, kind: str) -> None:
    folder = own_shards / "train2017"
    name = victim(folder).name
    damage, word = BYTES[kind]
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}.*({word})"):
        train(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}.*({word})"):
        train(folder, loader_workers=2)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}.*({word})"):
        list(read_samples(str(folder)))
    faults = verify(str(folder)).faults
    assert len(faults) == 1
    assert name in faults[0]


@pytest.mark.parametrize("kind", BYTES)
def test_skipping_leaves_places_empty_equally_on_any_ranks(own_shards: Path, kind: str) -> None:
    folder = own_shards / "train2017"
    whole = train(folder, epochs=2)
    lost = set(read_index(str(folder)).shards[SHARD].image_ids)
    BYTES[kind][0](folder)
    expected = [[-1 if image in lost else image for image in batch] for batch in whole]
    assert sum(image == -1 for batch in expected for image in batch) > 3
    assert train(folder, epochs=2, on_damage="skip") == expected
    for world in (2, 4):
        ranks = [train(folder, rank, world, epochs=2, on_damage="skip") for rank in range(world)]
        assert [len(rank) for rank in ranks] == [len(whole)] * world
        together = [[i for place in zip(*parts, strict=True) for i in place] for parts in zip(*ranks, strict=True)]
        assert together == expected


# Shards that were written wrong, so that index and bytes agree.


def rewrite(folder: Path, change: Callable[[list[tuple[str, bytes]]], Any]) -> None:
    """Write the victim again with other members, and an index that fits its bytes."""
    path = victim(folder)
    with tarfile.open(path) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    reindex(folder, buffer.getvalue())


def reindex(folder: Path, data: bytes) -> None:
    victim(folder).write_bytes(data)
    tree = json.loads((folder / INDEX).read_text())
    tree["bytes"] += len(data) - tree["shards"][SHARD]["bytes"]
    tree["shards"][SHARD].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / INDEX).write_text(json.dumps(tree))


def _drop(suffix: str) -> Callable[[list[tuple[str, bytes]]], None]:
    def change(members: list[tuple[str, bytes]]) -> None:
        del members[next(i for i, (name, _) in enumerate(members) if name.endswith(suffix))]

    return change


def _replace(suffix: str, data: Callable[[bytes], bytes]) -> Callable[[list[tuple[str, bytes]]], None]:
    def change(members: list[tuple[str, bytes]]) -> None:
        place = next(i for i, (name, _) in enumerate(members) if name.endswith(suffix))
        members[place] = members[place][0], data(members[place][1])

    return change


def _json(**values: Any) -> Callable[[list[tuple[str, bytes]]], None]:
    return _replace(".json", lambda data: json.dumps({**json.loads(data), **values}).encode())


def _without(key: str) -> Callable[[list[tuple[str, bytes]]], None]:
    return _replace(".json", lambda data: json.dumps({k: v for k, v in json.loads(data).items() if k != key}).encode())


PERSON = {"id": 1, "iscrowd": 0, "num_keypoints": 0, "keypoints": [0] * 51}
MEMBERS: dict[str, tuple[Callable[[list[tuple[str, bytes]]], Any], str]] = {
    "a picture is missing": (_drop(".jpg"), "lacks its jpg"),
    "a JSON is missing": (_drop(".json"), "lacks its json"),
    "no members at all": (lambda m: m.clear(), "ends after 0 images; its index lists 3"),
    "the last image is missing": (lambda m: m.__delitem__(slice(-2, None)), "ends after 2 images"),
    "a member twice": (lambda m: m.insert(1, m[0]), "duplicate file name"),
    "an image twice": (lambda m: m.extend(m[:2]), r"holds 0*\d+ at place 3 where its index lists None"),
    "another order": (lambda m: m.extend([m.pop(0), m.pop(0)]), "at place 0 where its index lists"),
    "a foreign image": (lambda m: m.extend([("000000000099.jpg", b""), ("000000000099.json", b"{}")]), r"holds 0+99 "),
    "a name that is no id": (lambda m: m.__setitem__(0, ("x.jpg", m[0][1])), "holds x at place 0"),
    "JSON of another image": (_json(image_id=999), "is that of image 999"),
    "JSON that is none": (_replace(".json", lambda _: b"{"), r"JSON of image 0*\d+ is damaged"),
    "JSON without a size": (_without("width"), "is damaged: 'width'"),
    "JSON without annotations": (_without("annotations"), "is damaged: 'annotations'"),
    "an empty annotation": (_json(annotations=[{}]), "is damaged: 'keypoints'"),
    "an annotation that is a number": (_json(annotations=[5]), "is damaged: 'int' object"),
    "too few keypoints": (_json(annotations=[{**PERSON, "keypoints": [1, 2, 2]}]), "without 17 keypoints"),
    "a keypoint that is no number": (_json(annotations=[{**PERSON, "keypoints": [None] * 51}]), "is damaged: unsup"),
    "a keypoint at infinity": (_json(annotations=[{**PERSON, "keypoints": [float("inf")] * 51}]), "without 17"),
    "an odd count of keypoints": (_json(annotations=[{**PERSON, "num_keypoints": "x"}]), "without 17 keypoints"),
    "an odd iscrowd": (_json(annotations=[{**PERSON, "iscrowd": "x"}]), "iscrowd is 'x'"),
    "no width": (_json(width=0), "is damaged: its size is 0x"),
    "an endless width": (_json(width=float("inf")), "is damaged: cannot convert float infinity"),
    "a picture that is none": (_replace(".jpg", lambda _: b"no picture"), "is not an image"),
    "a picture of another size": (_json(width=97), "its annotation says 97x"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEMBERS)
def test_shards_written_wrong_are_noticed_in_training_and_by_verify(own_shards: Path, kind: str) -> None:
    folder = own_shards / "train2017"
    change, word = MEMBERS[kind]
    rewrite(folder, change)
    with pytest.raises(ValueError, match=word):
        train(folder)
    assert any(victim(folder).name in fault for fault in verify(str(folder)).faults)


@pytest.mark.parametrize("kind", ["a picture is missing", "another order", "JSON that is none"])
def test_every_reader_of_images_names_the_url_of_a_shard_that_was_written_wrong(
    own_shards: Path, tmp_path: Path, kind: str
) -> None:
    folder = own_shards / "train2017"
    change, word = MEMBERS[kind]
    rewrite(folder, change)
    says = rf"{victim(folder)}.*{word}"
    with pytest.raises(ValueError, match=says):
        list(read_samples(str(folder)))
    with pytest.raises(ValueError, match=says):
        draw_samples(str(folder), tmp_path / "drawn", count=45, size=32, augment=NONE, images="all")
    assert re.search(says, verify(str(folder)).faults[0])


def test_a_picture_that_does_not_decode_is_named_with_its_shard(own_shards: Path) -> None:
    folder = own_shards / "train2017"
    rewrite(folder, MEMBERS["a picture that is none"][0])
    first = read_index(str(folder)).shards[SHARD].image_ids[0]
    with pytest.raises(ValueError, match=rf"{victim(folder)}: image {first}: .* is not an image"):
        list(read_samples(str(folder)))


def test_a_broken_tar_header_does_not_end_a_shard_silently(own_shards: Path) -> None:
    folder = own_shards / "train2017"
    data = bytearray(victim(folder).read_bytes())
    _flip(data, _second_image(data) + 3)
    reindex(folder, bytes(data))
    with pytest.raises(ValueError, match="ends after 1 images; its index lists 3"):
        train(folder)


@pytest.mark.parametrize(
    ("mask", "word"),
    [(b"no png", "ignore mask"), (b"", "ignore mask"), (None, "ignore mask")],
    ids=["no picture", "empty", "another size"],
)
def test_a_bad_ignore_mask_is_noticed(own_shards: Path, mask: bytes | None, word: str) -> None:
    import cv2
    import numpy as np

    small = cv2.imencode(".png", np.zeros((5, 5), np.uint8))[1].tobytes()
    folder = own_shards / "train2017"
    key = f"{read_index(str(folder)).shards[SHARD].image_ids[0]:012d}"
    rewrite(folder, lambda members: members.insert(0, (f"{key}.ignore.png", small if mask is None else mask)))
    with pytest.raises(ValueError, match=word):
        train(folder)


# Damage to the index and the truth.


def _index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path, Path], None]:
    def damage(folder: Path, other: Path) -> None:
        tree = json.loads((folder / INDEX).read_text())
        change(tree)
        (folder / INDEX).write_text(json.dumps(tree))

    return damage


def _cut_index(folder: Path, other: Path) -> None:
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:-100])


INDEXES: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "missing": (lambda folder, other: (folder / INDEX).unlink(), "no finished shards"),
    "cut": (_cut_index, "is not JSON"),
    "empty": (lambda folder, other: (folder / INDEX).write_bytes(b""), "is not JSON"),
    "a list": (lambda folder, other: (folder / INDEX).write_bytes(b"[]"), "format_version None"),
    "of another format": (_index(lambda t: t.update(format_version=2)), "format_version 2, this program reads 1"),
    "with an unknown key": (_index(lambda t: t.update(colour="red")), "colour"),
    "without a key": (_index(lambda t: t.pop("split")), "split"),
    "with a wrong total": (_index(lambda t: t.update(images=7)), "images is 7 and the shards sum to 45"),
    "with wrong bytes": (_index(lambda t: t.update(bytes=7)), "bytes is 7"),
    "with an id twice": (
        _index(lambda t: t["shards"][0]["image_ids"].__setitem__(0, t["shards"][1]["image_ids"][0])),
        "an image id is listed twice",
    ),
    "with a name twice": (_index(lambda t: t["shards"][0].update(name=t["shards"][1]["name"])), "the same name"),
    "with a count too many": (_index(lambda t: t["shards"][0].update(count=4)), "counts 4 images and lists"),
    "with a sha256 that is none": (_index(lambda t: t["shards"][0].update(sha256="xyz")), "sha256"),
    "of another set": (lambda folder, other: shutil.copy(other / INDEX, folder / INDEX), "missing; its index lists it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", INDEXES)
def test_a_damaged_index_is_refused(own_shards: Path, kind: str) -> None:
    folder = own_shards / "train2017"
    damage, word = INDEXES[kind]
    damage(folder, own_shards / "val2017")
    with pytest.raises((ValueError, FileNotFoundError), match=word):
        train(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=word):
        list(read_samples(str(folder)))


@pytest.mark.parametrize("kind", ["missing", "changed", "of another set"])
def test_a_damaged_truth_is_refused_and_reported(own_shards: Path, kind: str) -> None:
    place = own_shards / "val2017" / TRUTH
    if kind == "missing":
        place.unlink()
    elif kind == "changed":
        place.write_bytes(place.read_bytes() + b"\0")
    else:
        shutil.copy(own_shards / "train2017" / TRUTH, place)
    with pytest.raises((ValueError, FileNotFoundError), match=TRUTH):
        truth(str(place.parent))
    faults = verify(str(place.parent)).faults
    assert len(faults) == 1
    assert TRUTH in faults[0]


def test_annotations_that_differ_from_the_truth_are_reported(own_shards: Path) -> None:
    folder = own_shards / "train2017"
    rewrite(folder, _json(annotations=[]))
    faults = verify(str(folder)).faults
    assert any("its annotations are not those of" in fault for fault in faults)
    assert any("has 0 annotations and 0 keypoints; the index says" in fault for fault in faults)


def test_names_and_sizes_that_differ_from_the_truth_are_reported(own_shards: Path) -> None:
    folder = own_shards / "train2017"
    rewrite(folder, _json(file_name="other.jpg", width=97))
    faults = verify(str(folder)).faults
    assert any("its file_name is 'other.jpg' and that of" in fault for fault in faults)
    assert any("its width is 97 and that of" in fault for fault in faults)


def test_a_truth_that_was_written_wrong_is_reported(own_shards: Path) -> None:
    folder = own_shards / "val2017"
    tree = truth(str(folder))
    tree["annotations"][0]["image_id"] = 77
    data = truth_bytes(tree)
    (folder / TRUTH).write_bytes(data)
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "truth_sha256": hashlib.sha256(data).hexdigest()}))
    assert [f"{TRUTH} is damaged" in fault for fault in verify(str(folder)).faults] == [True]


def test_a_file_that_is_in_no_index_is_reported(own_shards: Path) -> None:
    (own_shards / "val2017" / "val2017-old-00000.tar").write_bytes(b"")
    assert ["is in no index" in fault for fault in verify(str(own_shards / "val2017")).faults] == [True]


def test_whole_shards_have_no_faults(drawn_shards: Path) -> None:
    seen: list[int] = []
    for split, images in (("train2017", 45), ("val2017", 20), ("test-dev2017", 10)):
        verdict = verify(str(drawn_shards / split), done=seen.append)
        assert verdict.faults == ()
        assert sum(seen) == images
        seen.clear()


@pytest.mark.parametrize("size", [-512, 2**63, 2**70, 10**7])
def test_a_tar_that_lies_about_a_size_is_refused_at_once(size: int) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("000000000001.jpg")
        info.pax_headers = {"size": str(size)}
        tar.addfile(info)
    with pytest.raises(ValueError, match=rf"x\.tar does not read as a tar after 0 images: .*{size}"):
        list(read_shard(io.BytesIO(held.getvalue()), "x.tar", (1,)))
