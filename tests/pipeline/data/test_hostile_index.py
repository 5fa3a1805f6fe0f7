"""An index or a ground truth that somebody else wrote chooses no folder, prints text alone and takes no memory."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.index import INDEX, TRUTH, read_index, truth


def rewritten(folder: Path, **changes: Any) -> str:
    """A copy of the index that says something else."""
    tree = json.loads((folder / INDEX).read_text()) | changes
    (folder / INDEX).write_text(json.dumps(tree))
    return str(folder)


@pytest.fixture
def shards(own_shards: Path) -> Path:
    return own_shards / "val2017"


@pytest.mark.parametrize("split", ["/tmp/x", "../../x", "a/b", "", ".hidden", "x" * 300, "a\x1b]0;pwn\x07"])
def test_a_split_is_a_name_and_no_path(shards: Path, split: str) -> None:
    with pytest.raises(ValueError, match=r"index\.json is damaged: split: "):
        read_index(rewritten(shards, split=split))


def test_a_shards_name_is_no_path_and_counts_are_not_negative(shards: Path) -> None:
    listed = json.loads((shards / INDEX).read_text())["shards"]
    for key, value in (("name", "../../etc/passwd"), ("keypoints", [-1] * listed[0]["count"])):
        with pytest.raises(ValueError, match=rf"index\.json is damaged: shards\.0\.{key}"):
            read_index(rewritten(shards, shards=[{**listed[0], key: value}, *listed[1:]]))


def test_a_data_sets_name_sets_no_terminals_title(shards: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.json is damaged: dataset"):
        read_index(rewritten(shards, dataset="x\x1b]0;pwn\x07"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b" " * (1 << 28)), "unpacks to more than"),
        (gzip.compress(b'{"images": []}')[:-9], "it is cut"),
        (b"no gzip", "is no ground truth"),
        (gzip.compress(b"[]"), "holds a list"),
        (gzip.compress(b"[" * 200_000), "is no ground truth"),
    ],
    ids=["a bomb", "cut", "no gzip", "a list", "nested"],
)
def test_a_ground_truth_that_is_none_is_one_line_and_no_memory(shards: Path, content: bytes, said: str) -> None:
    (shards / TRUTH).write_bytes(content)
    url = rewritten(shards, truth_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match=said):
        truth(url)
