import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import store
from pipeline.storage.atomic import atomic


@pytest.fixture(params=["folder", "file", pytest.param("s3", marks=pytest.mark.stack)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place of each writable kind."""
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3_server").env.items():
            monkeypatch.setenv(name, value)
        return str(request.getfixturevalue("s3"))
    return str(tmp_path / "store") if request.param == "folder" else f"file://{tmp_path}/store"


def test_what_is_written_is_read_back_listed_and_deleted(place: str) -> None:
    data = os.urandom(3_000_000)
    url = store.join(place, "a", "b.bin")
    assert not store.exists(url)
    assert store.size(url) is None
    store.write_bytes(url, data)
    store.write_bytes(store.join(place, "c.bin"), b"")
    assert store.read_bytes(url) == data
    assert store.read_bytes(url, 1_000_000, 17) == data[1_000_000:1_000_017]
    assert store.read_bytes(url, 2_999_990) == data[-10:]
    assert store.size(url) == len(data)
    assert store.exists(url)
    assert store.exists(store.join(place, "a"))
    assert store.listing(place) == {"a/b.bin": len(data), "c.bin": 0}
    assert store.listing(store.join(place, "a")) == {"b.bin": len(data)}
    store.delete(url)
    store.delete(url)
    assert store.listing(place) == {"c.bin": 0}
    store.write_bytes(url, b"1")
    store.delete(place)
    assert store.listing(place) == {}


def test_a_neighbour_with_the_same_beginning_is_not_listed_or_deleted(place: str) -> None:
    store.write_bytes(store.join(place, "run", "x"), b"1")
    store.write_bytes(store.join(place, "run-2", "x"), b"2")
    assert store.listing(store.join(place, "run")) == {"x": 1}
    store.delete(store.join(place, "run"))
    assert store.listing(place) == {"run-2/x": 1}


def test_fetch_accepts_only_the_bytes_asked_for(place: str, tmp_path: Path) -> None:
    data = os.urandom(1_500_000)
    url, to = store.join(place, "x.bin"), tmp_path / "got" / "x.bin"
    store.write_bytes(url, data)
    digest = hashlib.sha256(data).hexdigest()
    store.fetch(url, to, sha256=digest, size=len(data))
    assert to.read_bytes() == data
    to.unlink()
    for wrong, size, word in [(digest, len(data) + 1, "cut"), (digest, len(data) - 1, "cut"), ("0" * 64, None, "sha")]:
        with pytest.raises(ValueError, match=rf"x\.bin.*{word}"):
            store.fetch(url, to, sha256=wrong, size=size)
    assert list(to.parent.iterdir()) == []


def test_put_file_stores_the_files_bytes(place: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(12_000_000))
    store.put_file(tmp_path / "big", store.join(place, "big"))
    assert store.read_bytes(store.join(place, "big")) == (tmp_path / "big").read_bytes()


def test_a_missing_object_is_an_error_that_names_it(place: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.bin"):
        store.read_bytes(store.join(place, "nothing.bin"))


def test_a_write_that_breaks_leaves_the_old_bytes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    store.write_bytes(str(path), b"old")
    with pytest.raises(TypeError), atomic(path) as file:
        file.writelines([b"half of the new", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_write_that_breaks_as_it_is_closed_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with atomic(tmp_path / "x") as file:
            file.write(b"new")
            os.close(file.fileno())

    with pytest.raises(OSError, match="Bad file descriptor"):
        write()
    assert os.listdir(tmp_path) == []


def test_a_file_url_may_hold_any_name(tmp_path: Path) -> None:
    root = f"file://{tmp_path}/a%20b"
    for name in ("50%20off.txt", "c d#e?f.txt"):
        store.write_bytes(store.join(root, name), b"1")
        assert (tmp_path / "a b" / name).read_bytes() == b"1"
    assert [store.size(store.join(root, name)) for name in store.listing(root)] == [1, 1]


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "empty"),
        ("file://data/coco", "file:///folder"),
        ("file:///data/coco?x", "file:///folder"),
        ("gs://bucket/x", "gs://"),
        ("s3:///x", "no bucket"),
        ("s3://key:secret@bucket/x", "password"),
        ("http://me:secret@host/x", "password"),
        ("s3://bucket/a//b", "two slashes"),
        ("s3://bucket//a", "two slashes"),
        ("https://secret@host/x", "password"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_a_secret(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        store.scheme(url)
    assert "secret" not in str(error.value)


def test_a_web_address_is_only_read() -> None:
    for call in (lambda u: store.write_bytes(u, b""), store.delete, store.listing):
        with pytest.raises(ValueError, match=r"http://host/x.*(read|listed)"):
            call("http://host/x")


def test_join_keeps_a_scheme_and_makes_one_slash() -> None:
    assert store.join("s3://b/a/", "/c/", "d") == "s3://b/a/c/d"
    assert store.join("/", "a") == "/a"
    assert store.join("file:///x", "a", "") == "file:///x/a"


def test_the_web_is_read_by_ranges(web: Any) -> None:
    data = os.urandom(500_000)
    (web.folder / "x").write_bytes(data)
    url = f"{web.address}/x"
    assert store.size(url) == len(data)
    assert store.read_bytes(url, 100, 50) == data[100:150]
    assert web.sent == 50
    assert store.size(f"{web.address}/y") is None
    with pytest.raises(FileNotFoundError, match="404"):
        store.read_bytes(f"{web.address}/y")


def test_a_connection_that_drops_is_taken_up_where_it_broke(web: Any) -> None:
    data = os.urandom(3_000_000)
    (web.folder / "x").write_bytes(data)
    web.drop_after, web.drops = 1_100_000, 2
    assert store.read_bytes(f"{web.address}/x") == data
    assert web.sent < len(data) + 200_000
    assert [line.split()[-1] for line in web.requests] == ["None", "bytes=1100000-", "bytes=2200000-"]


def test_a_connection_that_always_drops_is_an_error(web: Any) -> None:
    (web.folder / "x").write_bytes(b"12345")
    web.drop_after, web.drops = 0, 99
    with pytest.raises(ConnectionError, match="broke after 0 of 5 bytes"):
        store.read_bytes(f"{web.address}/x")
    assert len(web.requests) == store.TRIES


def test_a_busy_server_is_asked_again(web: Any) -> None:
    (web.folder / "x").write_bytes(b"12345")
    web.fail_first = 2
    assert store.read_bytes(f"{web.address}/x") == b"12345"


def test_a_server_without_ranges_is_an_error(web: Any) -> None:
    (web.folder / "x").write_bytes(b"12345")
    web.ranges = False
    with pytest.raises(ConnectionError, match="range requests"):
        store.read_bytes(f"{web.address}/x", 1, 2)


def _point_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("silent", [False, True], ids=["nobody listens", "nobody answers"])
def test_an_unreachable_store_fails_soon_and_names_url_and_endpoint(
    monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen(0)
            monkeypatch.setattr("pipeline.storage.s3.READ_TIMEOUT", 1.0)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _point_at(monkeypatch, endpoint)
        begun = time.monotonic()
        with pytest.raises(ConnectionError, match=rf"s3://bucket/x .*{endpoint}"):
            store.read_bytes("s3://bucket/x")
        assert time.monotonic() - begun < 15


def test_a_store_that_stops_in_the_middle_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 100\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        _point_at(monkeypatch, f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(ConnectionError, match=r"s3://bucket/x .*broke"):
            store.read_bytes("s3://bucket/x")


@pytest.mark.stack
def test_wrong_keys_say_so(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the one")
    with pytest.raises(PermissionError, match="AWS_SECRET_ACCESS_KEY"):
        store.write_bytes(f"{s3}/x", b"1")


@pytest.mark.stack
def test_a_missing_bucket_says_so(s3: str) -> None:
    with pytest.raises(FileNotFoundError, match="bucket is not there"):
        store.read_bytes("s3://no-such-bucket-here/x")


def test_a_whole_bucket_is_never_deleted() -> None:
    with pytest.raises(ValueError, match="whole bucket"):
        store.delete("s3://bucket")


def test_what_a_killed_process_left_goes_when_the_next_one_writes_there(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pipeline.storage.store import atomic\n"
        "for name in sys.argv[1:]: atomic(Path(name)).__enter__().write(b'half')\n"
        "os.kill(os.getpid(), 9)"
    )
    names = [str(tmp_path / name) for name in ("a.json", "a[1].json", "b.json")]
    killed = subprocess.run(
        [sys.executable, "-c", script, *names],
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 3
    with store.atomic(tmp_path / "a.json") as living:
        for name in names[:2]:
            store.write_bytes(name, b"whole")
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left[-2:] == ["a.json", "a[1].json"]
        assert [name.split(".")[1] for name in left[:-2]] == ["a", "b"], "that of a living process, and b's"
        living.write(b"later")
    assert (tmp_path / "a.json").read_bytes() == b"later"


def test_a_web_address_keeps_its_query_behind_its_path() -> None:
    url = "https://host/coco/?token=a/b.zip"
    assert store.join(url, "zips", "val2017.zip") == "https://host/coco/zips/val2017.zip?token=a/b.zip"
    assert store.last_name(store.join(url, "val2017.zip")) == "val2017.zip"
    assert store.last_name(url) == "coco"
    assert store.join("s3://bucket/a?b", "c") == "s3://bucket/a?b/c"
    assert store.last_name("folder/what?.zip") == "what?.zip"
