"""The page finds in a browser what Python finds, shows how long it took, and lets nothing out."""

import html
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lhrnet.coco import K
from lhrnet.decoder.enlarged import Enlarged, Floats
from lhrnet.decoder.grouping import group
from lhrnet.geometry import fit, input_size, inverse, warp
from lhrnet.network import ModelConfig, create_model
from lhrnet.person import Person
from lhrnet.predictor import Predictor
from pipeline.serving.export import PixelForm, to_onnx, with_card
from pipeline.serving.onnx_network import Card, OnnxNetwork, describe
from pipeline.serving.page.runtime import runtime
from pipeline.serving.page.server import POLICY, PageServer, content

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync dump-dom virtual-time-budget=60000"
)
SIZE = 128
browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install -y chromium")


def dom(address: str, tmp_path: Path, *flags: str) -> str:
    """The page's document after it has come to rest."""
    assert CHROMIUM is not None
    options = [f"--{flag}" for flag in (*FLAGS.split(), *flags)]
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def element(page: str, name: str) -> str:
    """The text of the element of this id."""
    found = re.search(rf'id="{name}"[^>]*>(.*?)</', page, re.DOTALL)
    assert found, f"no element {name} in {page[:500]}"
    return html.unescape(found.group(1))


@pytest.fixture(scope="module")
def card() -> Card:
    return describe(ModelConfig(r=-4, input_size=SIZE), size=SIZE, precision="fp32", step=0, sha256="")


@pytest.fixture(scope="module")
def model(card: Card) -> bytes:
    """An exported network, untrained, that sees people in noise."""
    torch.manual_seed(0)
    network = create_model(card.model)
    with torch.no_grad():
        for name, parameter in network.head.named_parameters():
            if name.startswith(("final0", "final1")) and name.endswith("weight"):
                parameter.mul_(12)
    return with_card(to_onnx(PixelForm(network.eval())), card)


@pytest.fixture
def serving(model: bytes, card: Card, tmp_path: Path) -> Iterator[PageServer]:
    """The page without onnxruntime-web, and whatever a test adds to it."""
    (tmp_path / "runtime").mkdir()
    with PageServer(content(model, card, tmp_path / "runtime"), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Patient(dict[str, bytes]):
    """What a server gives, /slow only after a while: a browser's virtual time stands still as long as it waits.

    The network's threads, which it does not wait for, get their time so.
    """

    def __getitem__(self, path: str) -> bytes:
        if path == "/slow":
            time.sleep(0.2)
        return super().__getitem__(path)


def scene(seed: int, size: tuple[int, int], people: int, *, ties: bool) -> tuple[Floats, Floats]:
    """Maps (17, h, w) of people at random places, some joints hidden; with ties, tags are near and scores equal."""
    draws = np.random.default_rng(seed)
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    heat, tags = np.zeros((K, *size)), np.zeros((K, *size))
    for person in range(people):
        for k in range(K):
            if draws.random() < 0.2:
                continue
            x, y = draws.integers(0, size[::-1])
            blob = np.exp(-((xs - x - 0.5) ** 2 + (ys - y - 0.5) ** 2) / 8)
            tags[k][blob > heat[k]] = 0.2 * person if ties else 2.5 * person
            heat[k] = np.maximum(heat[k], blob * (0.75 if ties else draws.uniform(0.4, 1)))
    if not ties:
        heat += 0.01 * draws.standard_normal(heat.shape)
        tags += 0.1 * draws.standard_normal(tags.shape)
    return heat.astype(np.float32), tags.astype(np.float32)


def flat() -> tuple[Floats, Floats]:
    """Maps with a plateau that is too large, a small one, and one that is a U."""
    heat, tags = np.zeros((K, 40, 48), np.float32), np.zeros((K, 40, 48), np.float32)
    heat[0, 5:15, 5:15] = 0.5
    heat[0, 20:22, 20:23] = 0.6
    heat[1, 30:33, 30] = heat[1, 30:33, 32] = heat[1, 32, 31] = 0.7
    tags[:, :20] = 3
    return heat, tags


def golden_scenes(folder: Path) -> list[tuple[Floats, Floats]]:
    """The reference scenes with tags of one dimension."""
    found = []
    for case in json.loads((folder / "grouping" / "index.json").read_text()):
        vectors = np.load(folder / case["file"])
        if vectors["tag"].shape[3] == 1:
            found.append((vectors["det"].astype(np.float32), vectors["tag"][..., 0].astype(np.float32)))
    return found


def grouped_in_page(
    serving: PageServer,
    card: Card,
    scenes: list[tuple[Floats, Floats]],
    tmp_path: Path,
    times: tuple[int, int] = (1, 1),
) -> list[list[dict[str, Any]]]:
    """What the page's grouping finds in heatmaps and tags read at so many times their size."""
    shapes = [(*heat.shape[1:], *tags.shape[1:]) for heat, tags in scenes]
    serving.given |= {
        "/maps.bin": b"".join(heat.tobytes() + tags.tobytes() for heat, tags in scenes),
        "/shapes.json": json.dumps(shapes).encode(),
        "/test.html": b'<script id="found" type="application/json"></script><script type="module" src="t.js"></script>',
        "/t.js": b"""
            import { Enlarged } from "./enlarged.js";
            import { group } from "./grouping.js";
            const settings = await (await fetch("model.json")).json();
            const shapes = await (await fetch("shapes.json")).json();
            const maps = new Float32Array(await (await fetch("maps.bin")).arrayBuffer());
            let at = 0;
            const take = (count) => maps.subarray(at, (at += count));
            const read = (h, w, times) => new Enlarged(take(17 * h * w), h, w, times);
            document.getElementById("found").textContent = JSON.stringify(shapes.map(([h, w, th, tw]) =>
              group(read(h, w, HEAT), read(th, tw, TAGS), settings.grouping)));
        """.replace(b"HEAT", b"%d" % times[0]).replace(b"TAGS", b"%d" % times[1]),
    }
    found: list[list[dict[str, Any]]] = json.loads(element(dom(f"{serving.address}test.html", tmp_path), "found"))
    return found


def hold_against_python(scenes: list[tuple[Floats, Floats]], found: list[list[dict[str, Any]]], times: int = 1) -> int:
    """How many people there were."""
    people = 0
    for number, ((heat, tags), mine) in enumerate(zip(scenes, found, strict=True)):
        wanted = group(heat, tags[..., None], size=(heat.shape[1] * times, heat.shape[2] * times))
        assert len(mine) == len(wanted.scores), f"scene {number}"
        for person, keypoints, score, tag in zip(mine, wanted.keypoints, wanted.scores, wanted.tags, strict=True):
            np.testing.assert_allclose(person["keypoints"], keypoints, atol=1e-5, err_msg=f"scene {number}")
            assert (person["score"], person["tag"]) == pytest.approx((score, tag[0]), abs=1e-5)
        people += len(mine)
    return people


@browser
def test_grouping_in_the_page_finds_the_people_that_python_finds(
    serving: PageServer, card: Card, tmp_path: Path
) -> None:
    scenes = [
        scene(seed, (64, 80), people, ties=ties) for seed, people in ((0, 1), (1, 6), (2, 15)) for ties in (False, True)
    ]
    scenes += [scene(7, (60, 60), 34, ties=True), flat(), (np.zeros((K, 32, 32), np.float32),) * 2]
    broken = scene(3, (32, 32), 2, ties=False)
    broken[0][3, 4, 5] = np.nan
    assert hold_against_python(scenes, grouped_in_page(serving, card, [*scenes, broken], tmp_path)[:-1]) > 40
    assert grouped_in_page(serving, card, [broken], tmp_path / "again") == [[]]
    small = [(heat, np.ascontiguousarray(tags[:, ::2, ::2])) for heat, tags in scenes]
    assert hold_against_python(small, grouped_in_page(serving, card, small, tmp_path / "small", (2, 4)), 2) > 40


@browser
def test_grouping_in_the_page_finds_python_s_people_on_the_reference_scenes(
    serving: PageServer, card: Card, golden: Path, tmp_path: Path
) -> None:
    scenes = golden_scenes(golden)
    assert len(scenes) > 25
    assert hold_against_python(scenes, grouped_in_page(serving, card, scenes, tmp_path)) > 100


@browser
def test_the_page_makes_inputs_and_reads_maps_enlarged_as_python_does(serving: PageServer, tmp_path: Path) -> None:
    sizes = [(640, 480), (480, 640), (100, 100), (3000, 1), (1, 999), (427, 640), (64, 65)]
    maps = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    serving.given |= {
        "/test.html": b'<script id="found" type="application/json"></script><script type="module" src="t.js"></script>',
        "/t.js": f"""
            import {{ Enlarged }} from "./enlarged.js";
            import {{ inputSize }} from "./maps.js";
            const maps = new Enlarged(new Float32Array({maps.flatten().tolist()}), 5, 7, 4);
            const pixels = Array.from({{ length: 2 * 20 * 28 }}, (_, i) => i);
            document.getElementById("found").textContent = JSON.stringify({{
              sizes: {json.dumps(sizes)}.map(([width, height]) => inputSize(width, height, 200)),
              maps: pixels.map((i) => maps.at(Math.floor(i / 560), Math.floor(i / 28) % 20, i % 28)),
            }});
        """.encode(),
    }
    found = json.loads(element(dom(f"{serving.address}test.html", tmp_path), "found"))
    assert [tuple(size) for size in found["sizes"]] == [input_size(*size, 200) for size in sizes]
    wanted = Enlarged(maps[0].numpy(), 4).at(*np.indices((2, 20, 28)))
    np.testing.assert_array_equal(np.array(found["maps"], np.float32), wanted.ravel())


@browser
def test_a_script_in_the_page_reaches_no_other_server(serving: PageServer, tmp_path: Path) -> None:
    asked: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{other.server_address[1]}"
        serving.given |= {
            "/test.html": b'<p id="told"></p><script type="module" src="t.js"></script>',
            "/t.js": f"""
                new Image().src = "{address}/image";
                navigator.sendBeacon("{address}/beacon", "x");
                const told = await fetch("{address}/fetch").then(() => "through", () => "refused");
                document.getElementById("told").textContent = told;
            """.encode(),
        }
        assert element(dom(f"{serving.address}test.html", tmp_path), "told") == "refused"
        other.shutdown()
        thread.join()
    assert asked == []


USED = b"""
    import { toInput } from "./maps.js";
    const at = (id) => document.getElementById(id);
    const result = () => at("result").textContent;
    const failed = () => at("status").classList.contains("error");
    const until = async (done) => {
      for (let tries = 0; !done() && !failed() && tries < 75; tries++) await fetch("slow");
    };
    const told = {};
    const tell = () => { at("told").textContent = JSON.stringify(told); };

    await until(result);
    told.square = JSON.parse(result());
    for (const id of ["network", "decode", "count"]) told[id] = at(id).textContent;
    tell();

    at("result").textContent = "";
    const file = new File([await (await fetch("wide.png")).blob()], "wide.png");
    const choose = () => {
      const chosen = new DataTransfer();
      chosen.items.add(file);
      at("file").files = chosen.files;
      at("file").dispatchEvent(new Event("change"));
    };
    choose();
    await until(result);
    told.wide = JSON.parse(result());
    told.pixels = [...toInput(await createImageBitmap(file), 200, 150, 128, document.createElement("canvas")).pixels];
    tell();

    const streams = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (wish) => {
      streams.push(ask(wish));
      return streams.at(-1);
    };
    at("result").textContent = "";
    at("camera").click();
    at("camera").click();
    await until(result);
    told.seen = JSON.parse(result());
    choose();
    await until(() => JSON.parse(result()).width === 200);
    const tracks = async (stream) => (await stream).getTracks().map((track) => track.readyState);
    told.streams = await Promise.all(streams.map(tracks));
    told.label = at("camera").textContent;
    tell();
"""
"""Somebody who looks at the picture there, chooses another, clicks twice on the camera, and chooses again."""


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """One as large as the input, so that nothing is resized and both see the same pixels; and one that is not."""
    found = {}
    for name, size in (("square", (SIZE, SIZE)), ("wide", (150, 200))):
        noise = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8), (9, 9), 0)
        found[name] = cv2.normalize(noise, noise, 0, 255, cv2.NORM_MINMAX)
    return found


@pytest.fixture(scope="module")
def used(
    model: bytes, card: Card, pictures: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the page tells when it is used for a while."""
    try:
        folder = runtime()
    except (OSError, ValueError) as error:
        pytest.skip(f"onnxruntime-web can neither be fetched nor is it in the cache: {error}")
    encoded = {name: cv2.imencode(".png", image[..., ::-1])[1].tobytes() for name, image in pictures.items()}
    given = Patient(content(model, card, folder, encoded["square"]))
    added = b'<script id="told" type="application/json"></script><script type="module" src="use.js"></script></head>'
    given["/"] = given["/"].replace(b"</head>", added)
    given |= {"/slow": b"", "/use.js": USED, "/wide.png": encoded["wide"]}
    with PageServer(given, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        fake = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
        page = dom(server.address, tmp_path_factory.mktemp("used"), *fake)
        server.shutdown()
        thread.join()
    assert element(page, "status") == ""
    told: dict[str, Any] = json.loads(element(page, "told"))
    return told


def hold_people(found: list[dict[str, Any]], wanted: list[Person]) -> None:
    assert len(found) == len(wanted) > 3
    mine = np.array([person["keypoints"] for person in found])
    theirs = np.array([person.keypoints for person in wanted])
    # in noise a keypoint hangs now and then on the last digit of two distances; nearly all are the same
    assert np.mean(np.abs(mine - theirs).max(axis=2) < 0.01) > 0.98


@browser
def test_the_page_finds_python_s_people_in_a_picture(
    used: dict[str, Any], model: bytes, pictures: dict[str, np.ndarray]
) -> None:
    predictor = Predictor(OnnxNetwork(model), SIZE)
    wanted = predictor(pictures["square"])
    assert (used["square"]["width"], used["square"]["height"]) == (SIZE, SIZE)
    hold_people(used["square"]["people"], wanted)
    assert re.fullmatch(r"\d+ ms", used["network"])
    assert re.fullmatch(r"\d+ ms", used["decode"])
    assert int(used["count"]) == sum(person.score >= 0.2 for person in wanted)

    # browsers resize in ways of their own: nearly the same pixels, and from the same ones the same people
    sides = input_size(200, 150, SIZE)
    matrix = fit(200, 150, sides)
    pixels = np.array(used["pixels"], np.uint8).reshape(sides[1], sides[0], 3)
    assert np.abs(pixels.astype(int) - warp(pictures["wide"], matrix, sides)).mean() < 4
    assert (used["wide"]["width"], used["wide"]["height"]) == (200, 150)
    hold_people(used["wide"]["people"], [person.moved(inverse(matrix)) for person in predictor(pixels)])


@browser
def test_the_page_s_camera_is_opened_once_and_let_go(used: dict[str, Any]) -> None:
    assert (used["seen"]["width"], used["seen"]["height"]) == (640, 480)
    assert used["streams"] == [["ended"]]
    assert used["label"] == "Camera"


@browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_desk(serving: PageServer, tmp_path: Path, width: int) -> None:
    # the page forbids others to frame it; here it is framed to be as narrow as a phone
    page = serving.given["/index.html"].decode().replace("app.js", "fit.js")
    serving.given |= {
        "/framed.html": page.encode(),
        "/fit.js": b"""parent.document.getElementById("over").textContent =
            document.documentElement.scrollWidth - document.documentElement.clientWidth;""",
    }
    serving.policy = POLICY.replace("frame-ancestors 'none'", "frame-src 'self'").replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    )
    serving.given["/test.html"] = (
        f'<p id="over"></p><iframe src="framed.html" style="width:{width}px;height:900px;border:0"></iframe>'
    ).encode()
    assert element(dom(f"{serving.address}test.html", tmp_path, "window-size=1400,1000"), "over") == "0"
