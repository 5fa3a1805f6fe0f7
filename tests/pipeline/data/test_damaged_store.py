"""What a store in trouble gives, and a damaged cache."""

import base64
import hashlib
import itertools
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import reader
from pipeline.data.augment import NONE
from pipeline.data.index import read_index
from pipeline.data.stream import StreamConfig, TrainStream
from pipeline.sharding.task import _stored
from pipeline.sharding.verify import verify
from pipeline.storage import s3

SHARD = 2


def train(folder: Any, **config: Any) -> list[list[int]]:
    """The image ids of an epoch's batches."""
    settings = StreamConfig(**{"lanes": 4, "loader_workers": 0, "window": 4, **config})
    stream = TrainStream(str(folder), stream=settings, augment=NONE, size=32, global_batch=4, rank=0, world=1, seed=1)
    return [batch.image_ids.tolist() for batch in itertools.islice(stream.batches(), stream.order.steps(0))]


def flip_a_bit(folder: Path) -> Path:
    path = folder / read_index(str(folder)).shards[SHARD].name
    data = bytearray(path.read_bytes())
    data[900] ^= 1
    path.write_bytes(data)
    return path


class Store:
    """An S3 server in a few lines that misbehaves as told, over a folder's files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mood, self.left, self.seen = folder, "", 0, 0

    def listing(self) -> bytes:
        """As S3 lists train2017/, with the empty object by which consoles mark a folder."""
        sizes = {"": 0, **{path.name: path.stat().st_size for path in sorted(self.folder.iterdir())}}
        objects = (f"<Contents><Key>train2017/{k}</Key><Size>{v}</Size></Contents>" for k, v in sizes.items())
        head = "<Name>bucket</Name><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{''.join(objects)}</ListBucketResult>".encode()

    def checksum(self, path: str) -> str:
        """The CRC that the store keeps of an object, as its header says it."""
        crc = zlib.crc32((self.folder / path.rsplit("/", 1)[-1]).read_bytes())
        return base64.b64encode(crc.to_bytes(4, "big")).decode()

    def answer(self, path: str, start: int) -> tuple[int, bytes, int]:
        """(status, body, how many of its bytes are really sent)."""
        self.seen += 1
        if path.endswith(".tar") and self.left:
            self.left -= 1
            if self.mood == "expired":
                return 400, b"<Error><Code>ExpiredToken</Code></Error>", -1
            if self.mood == "busy":
                return 503, b"<Error><Code>SlowDown</Code></Error>", -1
            if self.mood == "forbidden":
                return 403, b"<Error><Code>AccessDenied</Code></Error>", -1
            data = (self.folder / path.rsplit("/", 1)[-1]).read_bytes()[start:]
            if self.mood == "drop":
                return 206 if start else 200, data, 1000 if self.left < 99 else 0
            if self.mood == "slow":
                time.sleep(1.0)
            if self.mood == "rotten":
                return 200, bytes([data[0] ^ 1]) + data[1:], -1
        if "?list-type" in path:
            return 200, self.listing(), -1
        data = (self.folder / path.rsplit("/", 1)[-1]).read_bytes()[start:]
        return 206 if start else 200, data, -1


@pytest.fixture
def store(drawn_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The training shards in a store of its own, at s3://bucket/train2017."""
    store = Store(drawn_shards / "train2017")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            status, body, sent = store.answer(self.path, start)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", "as it lies there")
            if store.mood == "rotten" and "list-type" not in self.path:
                self.send_header("x-amz-checksum-crc32", store.checksum(self.path))
            self.end_headers()
            self.wfile.write(body if sent < 0 else body[:sent])
            self.close_connection = sent >= 0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3._client.cache_clear()
    yield store
    server.shutdown()
    server.server_close()


URL = "s3://bucket/train2017"


@pytest.mark.parametrize(("mood", "times"), [("drop", 6), ("busy", 2)])
def test_a_store_in_passing_trouble_changes_nothing(store: Store, drawn_shards: Path, mood: str, times: int) -> None:
    store.mood, store.left = mood, times
    assert train(URL) == train(drawn_shards / "train2017")
    assert store.left == 0


def test_shards_too_large_for_memory_pass_through_files(
    store: Store, drawn_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.loader.MEMORY", 0)
    assert train(URL) == train(drawn_shards / "train2017")


@pytest.mark.parametrize(
    ("mood", "kind", "word"),
    [
        ("expired", PermissionError, r"ExpiredToken.*AWS_SESSION_TOKEN"),
        ("forbidden", PermissionError, r"AccessDenied.*AWS_ACCESS_KEY_ID"),
        ("busy", ConnectionError, r"503 SlowDown after 3 tries"),
        ("drop", ConnectionError, r"the connection broke"),
        ("slow", ConnectionError, r"cannot be reached"),
    ],
)
@pytest.mark.parametrize("on_damage", ["fail", "skip"])
def test_a_store_in_lasting_trouble_ends_the_run_even_where_damage_is_skipped(
    store: Store, monkeypatch: pytest.MonkeyPatch, mood: str, kind: type[Exception], word: str, on_damage: str
) -> None:
    monkeypatch.setattr("pipeline.storage.s3.READ_TIMEOUT", 0.3)
    store.mood, store.left = mood, 10**9
    with pytest.raises(kind, match=rf"s3://bucket/train2017/train2017-.*{word}"):
        train(URL, on_damage=on_damage)


def test_a_store_that_gives_other_bytes_is_noticed(store: Store, own_shards: Path) -> None:
    store.folder = own_shards / "train2017"
    name = flip_a_bit(store.folder).name
    with pytest.raises(ValueError, match=rf"s3://bucket/train2017/{name} has sha256"):
        train(URL)
    assert any(-1 in batch for batch in train(URL, on_damage="skip"))


def test_bytes_that_are_not_those_of_the_stores_own_checksum_are_damage(store: Store) -> None:
    names = [shard.name for shard in read_index(URL).shards]
    store.mood, store.left = "rotten", 10**9
    with pytest.raises(ValueError, match=r"s3://bucket/train2017/train2017-.*damaged in the store or on the way"):
        train(URL)
    assert {image for batch in train(URL, on_damage="skip") for image in batch} == {-1}
    faults = verify(URL).faults
    assert [fault.split(" ")[0] for fault in faults] == [f"{URL}/{name}" for name in names]
    assert _stored(f"{URL}/{names[0]}") is None, "a second run of `lhrnet shard` writes it again"
    store.left = 0
    assert verify(URL).faults == ()


def test_a_verification_that_ends_leaves_the_shards_in_its_queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    left, asked, answer = threading.Event(), set(), store.answer

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            left.set()
            super().shutdown(wait=wait)

    def slow_from_the_second(path: str, start: int) -> tuple[int, bytes, int]:
        if path.endswith(".tar"):
            asked.add(path)
            assert len(asked) == 1 or left.wait(60)
        return answer(path, start)

    monkeypatch.setattr("pipeline.sharding.verify.ThreadPoolExecutor", Pool)
    monkeypatch.setattr(store, "answer", slow_from_the_second)
    store.mood, store.left = "forbidden", 10**9
    with pytest.raises(PermissionError, match="AccessDenied"):
        verify(URL, workers=1)
    assert len(asked) <= 2


@pytest.mark.parametrize("on_damage", ["fail", "skip"])
def test_a_cache_that_holds_no_shard_is_refused_before_the_start(
    store: Store, drawn_shards: Path, tmp_path: Path, on_damage: str
) -> None:
    cache = {"cache": str(tmp_path / "cache"), "cache_gb": 1e-6, "on_damage": on_damage}
    with pytest.raises(ValueError, match=rf"{URL} has \d+ bytes and the cache 1000; set stream.cache_gb to"):
        train(URL, **cache)
    assert train(drawn_shards / "train2017", **cache) == train(URL), "what lies here needs no cache"


@pytest.mark.parametrize("kind", ["a bit", "cut", "empty"])
def test_a_damaged_cache_entry_is_fetched_again(store: Store, own_shards: Path, tmp_path: Path, kind: str) -> None:
    whole = train(URL, cache=str(tmp_path / "cache"))
    shard = read_index(str(own_shards / "train2017")).shards[SHARD]
    entry = tmp_path / "cache" / f"{shard.sha256}.tar"
    data = flip_a_bit(own_shards / "train2017").read_bytes()
    entry.write_bytes({"a bit": data, "cut": data[:700], "empty": b""}[kind])
    seen = store.seen
    assert train(URL, cache=str(tmp_path / "cache")) == whole
    assert store.seen == seen + 2, "the index and one shard"
    assert hashlib.sha256(entry.read_bytes()).hexdigest() == shard.sha256


@pytest.mark.parametrize("fits", ["nothing", "a part"])
def test_a_full_disk_under_the_cache_changes_nothing(
    store: Store, drawn_shards: Path, small_disk: Callable[[int], Path], caplog: pytest.LogCaptureFixture, fits: str
) -> None:
    shards = read_index(str(drawn_shards / "train2017")).shards
    disk = small_disk(sum(shard.bytes for shard in shards) * 3 // 4)
    if fits == "nothing":
        (disk / "other").write_bytes(bytes(shutil.disk_usage(disk).free - 4096))
    reader._warned.clear()
    for _ in range(2):
        assert train(URL, cache=str(disk / "cache")) == train(drawn_shards / "train2017")
    held = len(list((disk / "cache").glob("*.tar")))
    if fits == "nothing":
        assert held == 0
        said = f"the disk of the cache {disk / 'cache'} is full"
        assert len([message for message in caplog.messages if said in message]) == 1
    else:
        assert 0 < held < len(shards)


def test_a_cache_folder_that_cannot_be_written_changes_nothing(
    store: Store, drawn_shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file lies here")
    reader._warned.clear()
    for _ in range(2):
        assert train(URL, cache=str(tmp_path / "cache")) == train(drawn_shards / "train2017")
    assert len([message for message in caplog.messages if "cannot be used" in message]) == 1
