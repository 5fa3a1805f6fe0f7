"""What `lhrnet serve` promises."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lhrnet.network import ModelConfig, create_model
from pipeline.serving.export import PixelForm, to_onnx, with_card
from pipeline.serving.onnx_network import describe
from pipeline.serving.page import runtime


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = ModelConfig(r=-4, input_size=64)
    card = describe(config, size=64, precision="fp32", step=0, sha256="")
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    path.write_bytes(with_card(to_onnx(PixelForm(create_model(config).eval())), card))
    return str(path)


def test_it_says_where_the_page_is_gives_it_and_ends_when_interrupted(file: str, tmp_path: Path) -> None:
    cached = tmp_path / "lightweight-hrnet" / f"onnxruntime-web-{runtime.VERSION}"
    cached.mkdir(parents=True)
    for name in runtime.FILES:
        (cached / name).write_text("in the cache already")
    command = [sys.executable, "-m", "jobs.cli", "serve", "--model", file, "--port", "0"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert address, line
            with urllib.request.urlopen(f"{address.group()}model.json", timeout=10) as answer:
                assert json.load(answer)["card"]["size"] == 64
            with urllib.request.urlopen(f"{address.group()}ort/{runtime.FILES[0]}", timeout=10) as answer:
                assert answer.read() == b"in the cache already"
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()


def test_what_is_missing_is_named(file: str, tmp_path: Path) -> None:
    checkpoint = CliRunner().invoke(app, ["serve", "--model", str(tmp_path)])
    assert "make one with `lhrnet export" in str(checkpoint.exception)
    gone = CliRunner().invoke(app, ["serve", "--model", str(tmp_path / "none.onnx")])
    assert isinstance(gone.exception, FileNotFoundError)
    picture = CliRunner().invoke(app, ["serve", "--model", file, "--picture", str(tmp_path / "none.jpg")])
    assert "none.jpg" in str(picture.exception)
