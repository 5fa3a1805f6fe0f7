import contextlib
import hashlib
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import store
from pipeline.storage.cache import NodeCache, is_of_the_disk, node_cache


def make(folder: Path, count: int, size: int = 1000) -> list[tuple[str, str]]:
    """URL and sha256 of objects to be cached."""
    folder.mkdir(exist_ok=True)
    made = []
    for number in range(count):
        data = bytes([number]) * size
        (folder / f"{number}.tar").write_bytes(data)
        made.append((str(folder / f"{number}.tar"), hashlib.sha256(data).hexdigest()))
    return made


def names(cache: NodeCache) -> set[str]:
    return {path.stem for path in cache.folder.glob("*.tar")}


def use(cache: NodeCache, url: str, sha256: str, size: int = 1000) -> bytes:
    with cache.open(url, sha256=sha256, size=size) as file:
        return file.read()


def test_what_is_held_is_not_fetched_again(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 10_000)
    ((url, sha),) = make(tmp_path / "store", 1)
    assert use(cache, url, sha) == bytes(1000)
    Path(url).unlink()
    assert use(cache, url, sha) == bytes(1000)


def test_the_longest_unused_makes_room_and_the_limit_holds(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 3000)
    objects = make(tmp_path / "store", 4)
    for place, (url, sha) in enumerate(objects[:3]):
        use(cache, url, sha)
        os.utime(cache.folder / f"{sha}.tar", ns=(place, place))
    use(cache, *objects[0])
    use(cache, *objects[3])
    assert names(cache) == {objects[i][1] for i in (0, 2, 3)}


def test_an_entry_that_is_being_read_survives_its_eviction(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 1500)
    (first, second) = make(tmp_path / "store", 2)
    with cache.open(first[0], sha256=first[1], size=1000) as file:
        use(cache, *second)
        assert names(cache) == {second[1]}
        assert file.read() == bytes(1000)


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 3000)
    ((url, _),) = make(tmp_path / "store", 1)
    with pytest.raises(ValueError, match=r"0\.tar has sha256"):
        cache.open(url, sha256="0" * 64, size=1000)
    assert [path.name for path in cache.folder.iterdir() if path.suffix != ".lock"] == []


def test_a_shard_larger_than_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1000 bytes and the cache 999; set a larger"):
        NodeCache(tmp_path, 999).open("x", sha256="0" * 64, size=1000)


def test_shards_of_one_name_in_two_folders_are_not_mixed_up(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 10_000)
    (one,) = make(tmp_path / "one", 1)
    (tmp_path / "two").mkdir()
    data = b"x" * 1000
    (tmp_path / "two" / "0.tar").write_bytes(data)
    assert use(cache, *one) != use(cache, str(tmp_path / "two" / "0.tar"), hashlib.sha256(data).hexdigest())


def test_no_folder_is_no_cache() -> None:
    assert node_cache("", 1.0) is None
    assert node_cache("/x", 1.5) == NodeCache(Path("/x"), 1_500_000_000)


def _work(folder: Path, seed: int) -> None:
    cache = NodeCache(folder / "cache", 3_500)
    objects = make_names(folder / "store")
    for turn in range(60):
        url, sha, content = objects[(turn * 7 + seed) % len(objects)]
        assert use(cache, url, sha) == content


def make_names(folder: Path) -> list[tuple[str, str, bytes]]:
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        found.append((str(path), hashlib.sha256(data).hexdigest(), data))
    return found


def test_processes_share_one_cache_without_harm(tmp_path: Path) -> None:
    make(tmp_path / "store", 6)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(tmp_path, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    held = list((tmp_path / "cache").glob("*.tar"))
    assert 0 < sum(path.stat().st_size for path in held) <= 3_500
    for path in held:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def _open_once(folder: Path, fetched: Path) -> None:
    cache = NodeCache(folder / "cache", 10_000)
    real = store.fetch

    def counting(url: str, *args: Any, **options: Any) -> None:
        with fetched.open("a") as file:
            file.write("x")
        real(url, *args, **options)

    store.fetch = counting
    url, sha, content = make_names(folder / "store")[0]
    assert use(cache, url, sha) == content


def test_of_several_processes_that_want_a_shard_one_fetches_it(tmp_path: Path) -> None:
    make(tmp_path / "store", 1)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_open_once, args=(tmp_path, tmp_path / "log")) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert (tmp_path / "log").read_text() == "x"


def _held(folder: Path) -> int:
    held = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another thread renamed or evicted it meanwhile
            held += path.stat().st_size if path.suffix != ".lock" else 0
    return held


def test_what_is_being_fetched_counts_towards_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = NodeCache(tmp_path / "cache", 2500)
    objects = make(tmp_path / "store", 8)
    real, seen = store.fetch, []

    def slow(url: str, to: Any, **options: Any) -> None:
        real(url, to, **options)
        if not isinstance(to, Path):
            to.flush()
            time.sleep(0.02)
            seen.append(_held(cache.folder))

    monkeypatch.setattr(store, "fetch", slow)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda entry: use(cache, *entry), objects))
    assert contents == [Path(url).read_bytes() for url, _ in objects]
    assert max(seen) <= 2500
    assert len(seen) == 8


def test_what_a_killed_fetch_left_makes_room(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 2500)
    objects = make(tmp_path / "store", 3)
    cache.folder.mkdir()
    for _, sha in objects[1:]:
        (cache.folder / f"{sha}.part").write_bytes(b"x" * 1000)
    for entry in objects:
        assert len(use(cache, *entry)) == 1000
        assert _held(cache.folder) <= 2500
    assert list(cache.folder.glob("*.part")) == []


def test_an_entry_evicted_as_it_arrives_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = NodeCache(tmp_path / "cache", 2500)
    ((url, sha),) = make(tmp_path / "store", 1)
    real = Path.rename

    def evicted(self: Path, target: Path) -> Path:
        moved = real(self, target)
        target.unlink()
        return moved

    monkeypatch.setattr(Path, "rename", evicted)
    assert use(cache, url, sha) == bytes(1000)


def test_a_link_in_the_cache_folder_harms_nobodys_file(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 10_000)
    ((url, sha),) = make(tmp_path / "store", 1)
    cache.folder.mkdir()
    theirs = tmp_path / "thesis.txt"
    theirs.write_text("years of work")
    for name in (f"{sha}.lock", "evict.lock"):
        (cache.folder / name).symlink_to(theirs)
        with pytest.raises(OSError, match=name) as told:
            use(cache, url, sha)
        assert is_of_the_disk(told.value)
        (cache.folder / name).unlink()
    (cache.folder / f"{sha}.part").symlink_to(theirs)
    assert use(cache, url, sha) == bytes(1000)
    (cache.folder / "other.lock").write_text("kept")
    with cache._locked("other.lock"):
        pass
    assert theirs.read_text() == "years of work"
    assert (cache.folder / "other.lock").read_text() == "kept"


def test_the_cache_folder_is_its_users_own(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", 10_000)
    use(cache, *make(tmp_path / "store", 1)[0])
    assert cache.folder.stat().st_mode & 0o077 == 0
