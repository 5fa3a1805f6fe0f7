import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.index import INDEX, read_index
from pipeline.sharding.plan import make_plans
from pipeline.sharding.source import check_apart, locate, present
from pipeline.sharding.write import write_split
from pipeline.storage import store
from pipeline.storage.archive import Ranges, members

SPLITS = ("train2017", "val2017", "test-dev2017")


def zipped(coco: Path, target: Path, *, official: bool) -> Path:
    """COCO's zips of a folder: all in one place, or as images.cocodataset.org lays them out."""
    images, annotations = (target / "zips", target / "annotations") if official else (target, target)
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    for split in ("train2017", "val2017", "test2017"):
        with zipfile.ZipFile(images / f"{split}.zip", "w", zipfile.ZIP_STORED) as archive:
            archive.mkdir(split)
            for path in sorted((coco / split).iterdir(), reverse=True):
                archive.write(path, f"{split}/{path.name}")
    for name, parts in {
        "annotations_trainval2017": ("person_keypoints_train2017", "person_keypoints_val2017"),
        "image_info_test2017": ("image_info_test-dev2017",),
    }.items():
        with zipfile.ZipFile(annotations / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for part in parts:
                archive.write(coco / "annotations" / f"{part}.json", f"annotations/{part}.json")
    return target


def shards_of(source: str, target: Path) -> dict[str, bytes]:
    for plan in make_plans(source, str(target), present(source), dataset="drawn"):
        write_split(plan)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize("official", [False, True], ids=["flat", "as COCO's server"])
def test_zips_give_the_same_shards_as_the_folder_without_unpacking(
    drawn_coco: Path, drawn_shards: Path, tmp_path: Path, official: bool
) -> None:
    source = zipped(drawn_coco, tmp_path / "zips", official=official)
    assert present(str(source)) == SPLITS
    expected = {path.relative_to(drawn_shards).as_posix(): path.read_bytes() for path in drawn_shards.rglob("*.*")}
    found = shards_of(str(source), tmp_path / "shards")
    assert {k: v for k, v in found.items() if not k.endswith(INDEX)} == {
        k: v for k, v in expected.items() if not k.endswith(INDEX)
    }
    for split in SPLITS:
        ours, theirs = (read_index(str(root / split)) for root in (tmp_path / "shards", drawn_shards))
        assert [shard.sha256 for shard in ours.shards] == [shard.sha256 for shard in theirs.shards]


def test_zips_at_a_url_are_read_member_by_member(
    drawn_coco: Path, drawn_shards: Path, tmp_path: Path, web: Any
) -> None:
    zipped(drawn_coco, web.folder, official=True)
    shards_of(web.address, tmp_path / "shards")
    for path in drawn_shards.rglob("*.tar"):
        assert (tmp_path / "shards" / path.relative_to(drawn_shards)).read_bytes() == path.read_bytes()
    whole = [line for line in web.requests if line.startswith("GET") and line.endswith("None")]
    assert whole == []
    asked = [line for line in web.requests if "val2017.zip bytes" in line]
    assert len(asked) > 20, "one range request an image"


def test_zips_are_found_though_the_server_refuses_what_it_does_not_have(drawn_coco: Path, web: Any) -> None:
    web.missing = 403
    zipped(drawn_coco, web.folder, official=True)
    (web.folder / "zips" / "train2017.zip").unlink()
    assert present(web.address) == ("val2017", "test-dev2017")
    for split in ("val2017", "test-dev2017"):
        assert locate(web.address, split).annotations.span
    with pytest.raises(PermissionError, match=r"/train2017\.zip: the server refuses.*403.*/zips/train2017\.zip: "):
        locate(web.address, "train2017")
    shutil.rmtree(web.folder / "zips")
    with pytest.raises(PermissionError, match=r"/train2017\.zip: the server.*/zips/test2017\.zip: the server"):
        present(web.address)


def test_a_dropping_server_still_gives_the_right_shards(
    drawn_coco: Path, drawn_shards: Path, tmp_path: Path, web: Any
) -> None:
    zipped(drawn_coco, web.folder, official=False)
    web.drop_after, web.drops = 1000, 5
    shards_of(web.address, tmp_path / "shards")
    for path in drawn_shards.rglob("*.tar"):
        assert (tmp_path / "shards" / path.relative_to(drawn_shards)).read_bytes() == path.read_bytes()


@pytest.mark.stack
def test_a_prefix_in_s3_is_a_source(drawn_coco: Path, drawn_shards: Path, tmp_path: Path, s3: str) -> None:
    for path in [*(drawn_coco / "val2017").iterdir(), drawn_coco / "annotations" / "person_keypoints_val2017.json"]:
        store.put_file(path, store.join(s3, "coco", path.relative_to(drawn_coco).as_posix()))
    assert present(f"{s3}/coco") == ("val2017",)
    shards_of(f"{s3}/coco", tmp_path / "shards")
    for path in (drawn_shards / "val2017").glob("*.tar"):
        assert (tmp_path / "shards" / "val2017" / path.name).read_bytes() == path.read_bytes()


def test_only_splits_whose_images_are_there_are_taken(own_coco: Path) -> None:
    shutil.rmtree(own_coco / "train2017")
    for path in (own_coco / "test2017").iterdir():
        path.unlink()
    assert present(str(own_coco)) == ("val2017",)
    with pytest.raises(FileNotFoundError, match=r"no images of train2017.*train2017\.zip"):
        locate(str(own_coco), "train2017")


def test_a_source_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train2017/ or train2017\.zip"):
        present(str(tmp_path / "nothing"))


def test_an_unknown_split_is_refused(drawn_coco: Path) -> None:
    with pytest.raises(ValueError, match="train2014"):
        present(str(drawn_coco), ["train2014"])


def test_missing_annotations_are_an_error_that_names_them(own_coco: Path) -> None:
    (own_coco / "annotations" / "person_keypoints_val2017.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"person_keypoints_val2017\.json"):
        locate(str(own_coco), "val2017")


def test_a_damaged_member_is_an_error_that_names_it(drawn_coco: Path, tmp_path: Path) -> None:
    archive = zipped(drawn_coco, tmp_path, official=False) / "val2017.zip"
    name, member = next(iter(members(str(archive)).items()))
    assert member.read() == (drawn_coco / name).read_bytes()
    assert member.span is not None
    data = bytearray(archive.read_bytes())
    data[member.span.offset + 200] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name}.*checksum"):
        member.read()
    data[member.span.offset] = 0
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name}.*no member begins"):
        member.read()


def test_a_cut_archive_is_an_error(drawn_coco: Path, tmp_path: Path) -> None:
    archive = zipped(drawn_coco, tmp_path, official=False) / "val2017.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"val2017\.zip is no whole zip"):
        members(str(archive))


@pytest.mark.parametrize(
    ("place", "word"),
    [
        (("PK\5\6", 14), "Bad offset|begin at byte -"),
        (("PK\5\6", 18), "Bad magic|lies before its start"),
        (("PK\1\2", 6), "zip file version 25.5"),
        (("PK\1\2", 46), "utf-8"),
    ],
    ids=["directory's size", "directory's offset", "version", "name"],
)
def test_an_archive_whose_directory_is_damaged_is_an_error_that_names_it(
    tmp_path: Path, place: tuple[str, int], word: str
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("\u00e9.jpg", b"a")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.rindex(place[0].encode()) + place[1]] = 255
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(ValueError, match=rf"x\.zip is no whole zip archive \(.*({word})"):
        members(str(tmp_path / "x.zip"))


def test_an_archive_packed_another_way_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"a")
    with pytest.raises(ValueError, match="unzip"):
        members(str(tmp_path / "x.zip"))


def test_ranges_reads_like_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20
    (tmp_path / "x").write_bytes(data)
    file = Ranges(str(tmp_path / "x"))
    assert file.read(10) == data[:10]
    assert file.seek(-5, 2) == len(data) - 5
    assert file.read() == data[-5:]
    assert file.read(3) == b""
    file.seek(2)
    file.seek(3, 1)
    assert (file.tell(), file.read(4)) == (5, data[5:9])


def test_another_image_of_the_same_size_in_a_zip_is_noticed(own_coco: Path, tmp_path: Path) -> None:
    source = zipped(own_coco, tmp_path / "zips", official=False)
    shards_of(str(source), tmp_path / "shards")
    path = sorted((own_coco / "val2017").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    zipped(own_coco, tmp_path / "zips", official=False)
    (plan,) = make_plans(str(source), str(tmp_path / "shards"), ["val2017"], dataset="drawn")
    assert write_split(plan).written == 1


@pytest.mark.parametrize(
    ("source", "folder", "apart"),
    [
        ("/data/coco", "/data/coco/train2017", False),
        ("/data/coco", "/data/coco/test2017/val2017", False),
        ("/data/coco/", "file:///data/coco/x/../val2017", False),
        ("/data/train2017", "/data/train2017", False),
        ("/data/train2017/coco", "/data/train2017", False),
        ("s3://bucket/coco", "s3://bucket/coco/train2017/", False),
        ("/data/coco", "/data/coco/shards/train2017", True),
        ("/data/coco", "/data/shards/train2017", True),
        ("s3://bucket/coco", "s3://bucket/coco2/train2017", True),
        ("http://host/coco", "/data/train2017", True),
    ],
)
def test_shards_do_not_go_among_the_sources_images(source: str, folder: str, apart: bool) -> None:
    if apart:
        check_apart(source, folder)
        return
    with pytest.raises(ValueError, match="choose another target") as error:
        check_apart(source, folder)
    assert folder in str(error.value)


def test_of_two_images_with_one_name_in_a_zip_the_splits_own_is_taken_and_else_none(
    drawn_coco: Path, tmp_path: Path
) -> None:
    source = zipped(drawn_coco, tmp_path / "zips", official=True)
    place = source / "zips" / "val2017.zip"
    with zipfile.ZipFile(place, "a") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        whole = {Path(name).name: archive.read(name) for name in names}
        for name in whole:
            archive.writestr(f"zz-thumbs/{name}", b"a small one")
    images = locate(str(source), "val2017").images
    assert {name: images[name].read() for name in whole} == whole
    with zipfile.ZipFile(place, "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/1.jpg", b"x")
    with pytest.raises(ValueError, match=r"val2017\.zip holds two images 1\.jpg: a/1\.jpg and b/1\.jpg"):
        locate(str(source), "val2017").images.get("1.jpg")
    told_apart = locate(str(source), "val2017").images
    assert [told_apart[f"{folder}/1.jpg"].name for folder in ("a", "b")] == ["a/1.jpg", "b/1.jpg"]
