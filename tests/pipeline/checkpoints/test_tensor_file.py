"""Tensors are read as data: nothing is run, nothing unpacks, and what is none is named in one line."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.tensor_file import read_tensors, read_weights


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def packed(content: bytes) -> bytes:
    """The same zip with its records deflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("code was run",)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (packed(saved({"a": torch.zeros(1000)})), "has packed records"),
        (saved({"a": Runs()}), "can be loaded safely"),
        (saved({"a": 1})[:300], "can be loaded safely|directory is damaged"),
        (pickle.dumps(Runs(), 2), "can be loaded safely"),
        (b"", "can be loaded safely"),
        (b"\x80\x02}", "can be loaded safely"),
        (b"PK\x03\x04" + bytes(50), "can be loaded safely"),
        (saved([torch.zeros(1)]), "holds a list, not weights by name"),
        (saved({"a": "b"}), "holds a str as 'a'"),
        (saved({1: torch.zeros(1)}), "holds a Tensor as 1"),
    ],
)
def test_what_is_no_state_dict_is_one_line_with_the_files_name(
    content: bytes, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=rf"^w\.pt .*({word})") as told:
        read_weights(content, "w.pt")
    assert "\n" not in str(told.value)
    assert "weights_only" not in str(told.value)
    assert capsys.readouterr().out == ""


def test_tensors_come_back() -> None:
    assert torch.equal(read_weights(saved({"a": torch.ones(3)}), "w.pt")["a"], torch.ones(3))
    assert read_tensors(saved({"step": 4, "state": [torch.ones(1)]}), "t.pt")["step"] == 4


@pytest.mark.parametrize("name", ["weights.pt", "metrics.json", "config.json"])
def test_a_file_that_fits_its_manifest_and_is_none_is_named(name: str, tmp_path: Path) -> None:
    import hashlib
    import json

    url = checkpoint.step_url(str(tmp_path), 1)
    checkpoint.save(checkpoint.Checkpoint(url="", step=1, config={}, weights={"a": torch.ones(1)}), url)
    bad = b"[" * 200_000
    (Path(url) / name).write_bytes(bad)
    manifest = json.loads((Path(url) / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(bad), "sha256": hashlib.sha256(bad).hexdigest()}
    (Path(url) / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=name):
        checkpoint.load(url)


def test_manifests_that_are_deep_or_boundless_are_passed_by(tmp_path: Path) -> None:
    for step, change in ((1, ""), (2, "[" * 200_000), (3, '"step": 1e400')):
        url = checkpoint.step_url(str(tmp_path), step)
        checkpoint.save(checkpoint.Checkpoint(url="", step=step, config={}, weights={}), url)
        path = Path(url) / "manifest.json"
        if change:
            path.write_text(change if change[0] == "[" else path.read_text().replace(f'"step": {step}', change))
    assert [entry.step for entry in checkpoint.listing(str(tmp_path))] == [1]
