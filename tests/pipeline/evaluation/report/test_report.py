"""The report: complete, self-contained, readable on a phone and on a desk."""

import base64
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lhrnet.coco import KEYPOINTS
from lhrnet.metrics.coco_eval import score
from lhrnet.network.config import ModelConfig
from lhrnet.network.profile import profile
from lhrnet.network.registry import create_model
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.data.index import read_index, truth
from pipeline.evaluation.evaluate import Evaluation, describe_data, describe_protocol
from pipeline.evaluation.predictions import Latency, Predictions
from pipeline.evaluation.report.figures import draw_figures
from pipeline.evaluation.report.findings import RunReport, gather
from pipeline.evaluation.report.report import report_files
from pipeline.evaluation.report.worst_best import image_quality
from pipeline.evaluation.worker import EvaluateConfig

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync virtual-time-budget=10000 window-size=1400,3000 dump-dom"
)
MODEL = ModelConfig(r=-4, input_size=64)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(url="runs/a", step=7, config={"model": asdict(MODEL)}, weights=create_model(MODEL).state_dict())


@pytest.fixture(scope="module")
def shards(make_shards: Callable[..., Path]) -> str:
    return str(make_shards(val=12, per_shard=5, size=128) / "val2017")


def _evaluation(shards: str, checkpoint: Checkpoint, noise: float) -> Evaluation:
    """The truth, its keypoints moved at random and some people left out."""
    index, draws = read_index(shards), np.random.default_rng(1)
    tree, found = truth(shards, index), []
    for person in tree["annotations"]:
        if draws.random() < 0.85:
            points = np.array(person["keypoints"], float).reshape(17, 3)
            points[:, :2] += draws.normal(0, noise, (17, 2))
            entry = {"image_id": person["image_id"], "category_id": 1, "keypoints": points.ravel().tolist()}
            found.append({**entry, "score": float(draws.random())})
    counted = profile(MODEL)
    latency = Latency(resize_ms=1.0, network_ms=20.0, decode_ms=5.0, device="a test", batch=1)
    return Evaluation(
        checkpoint=checkpoint.url,
        step=checkpoint.step,
        data=describe_data(shards, index),
        protocol=describe_protocol(EvaluateConfig(), checkpoint),
        scores=score(tree, found),
        params=counted.params,
        macs=counted.macs,
        predictions=Predictions(
            detections=tuple(found), image_ids=tuple(sorted(index.image_ids)), latency=latency, pictures={}
        ),
        truth=tree,
    )


@pytest.fixture(scope="module")
def one(shards: str, checkpoint: Checkpoint) -> RunReport:
    return gather("first run", _evaluation(shards, checkpoint, 1.5), checkpoint, pictures=2)


@pytest.fixture(scope="module")
def two(shards: str, checkpoint: Checkpoint) -> RunReport:
    return gather("second <run>", _evaluation(shards, checkpoint, 3.0), checkpoint, pictures=2)


def test_the_page_needs_no_other_file_and_shows_everything(one: RunReport) -> None:
    files = report_files([one])
    page = files["report.html"].decode()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    for text in (
        f"{one.evaluation.scores.ap:.4f}",
        "AP50",
        "AR large",
        "What each error costs",
        "Precision over recall",
    ):
        assert text in page
    for heading in ("Worst images", "Best images", "Heatmaps and tags", "How it was made"):
        assert f"<h2>{heading}</h2>" in page
    figures = [name for name in files if name.startswith("figures/")]
    assert len(figures) == 5
    for name in figures:
        image = cv2.imdecode(np.frombuffer(files[name], np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.std() > 10
        assert base64.b64encode(files[name]).decode() in page
    assert len([name for name in files if name.startswith("pictures/")]) == 6


def test_two_models_stand_side_by_side_with_the_change(one: RunReport, two: RunReport) -> None:
    page = report_files([one, two])["report.html"].decode()
    assert "first run against second &lt;run&gt;" in page
    change = two.evaluation.scores.ap - one.evaluation.scores.ap
    assert change < 0
    assert f"<td>{change:+.4f}</td>" in page


def test_two_models_of_unlike_input_sizes_say_theirs(one: RunReport, two: RunReport) -> None:
    larger = replace(two, evaluation=replace(two.evaluation, protocol={**two.evaluation.protocol, "size": 128}))
    page = report_files([one, larger])["report.html"].decode()
    assert "input 64 against 128 px" in page
    assert "<td>plain, input 64 px</td><td>plain, input 128 px</td>" in page


def test_the_page_says_how_many_images_of_the_split_are_not_in_it(one: RunReport) -> None:
    lacking = replace(one, evaluation=replace(one.evaluation, data={**one.evaluation.data, "left_out": 3}))
    assert "12 images (3 more of the split are in no shard)" in report_files([lacking])["report.html"].decode()
    assert "in no shard" not in report_files([one])["report.html"].decode()


def test_models_scored_on_other_images_are_not_compared(one: RunReport) -> None:
    other = replace(one, evaluation=replace(one.evaluation, data={**one.evaluation.data, "index_sha256": "0"}))
    with pytest.raises(ValueError, match="not scored on the same images"):
        report_files([one, other])
    with pytest.raises(ValueError, match="not 0"):
        report_files([])


def test_the_numbers_are_there_as_json(one: RunReport) -> None:
    numbers = one.as_dict()
    assert set(numbers["errors"]["gains"]) == {
        "jitter", "inversion", "swap", "miss", "score", "background", "not found",
    }  # fmt: skip
    assert set(numbers["keypoint_oks"]) == set(KEYPOINTS)
    assert numbers["scores"]["ap"] == one.evaluation.scores.ap


def test_the_worst_images_are_worse_than_the_best(one: RunReport) -> None:
    quality = image_quality(one.evaluation, one.threshold)
    shown = {kind: [p.image_id for p in one.pictures if p.kind == kind] for kind in ("worst", "best", "maps")}
    assert {kind: len(ids) for kind, ids in shown.items()} == {"worst": 2, "best": 2, "maps": 2}
    assert max(quality[i] for i in shown["worst"]) <= min(quality[i] for i in shown["best"])
    assert sorted(quality, key=lambda i: (quality[i], i))[:2] == shown["worst"]


def test_an_invented_person_lowers_an_images_quality(one: RunReport) -> None:
    evaluation = one.evaluation
    perfect = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.9}
        for a in evaluation.truth["annotations"]
        if a["num_keypoints"]
    ]
    clean = replace(evaluation, predictions=replace(evaluation.predictions, detections=tuple(perfect)))
    assert set(image_quality(clean, 0.0).values()) == {1.0}
    first = perfect[0]["image_id"]
    moved = {**perfect[0], "keypoints": [v + 5000 for v in perfect[0]["keypoints"]], "score": 0.8}
    dirty = replace(clean, predictions=replace(clean.predictions, detections=(*perfect, moved)))
    assert image_quality(dirty, 0.0)[first] < 1.0
    assert image_quality(dirty, 0.85)[first] == 1.0


def test_a_model_that_finds_nobody_gets_a_report_too(one: RunReport, checkpoint: Checkpoint) -> None:
    nobody = replace(one.evaluation.predictions, detections=())
    empty = replace(one.evaluation, predictions=nobody, scores=score(one.evaluation.truth, []))
    run = gather("nobody", empty, checkpoint, pictures=1)
    assert b"<h2>Worst images</h2>" in report_files([run])["report.html"]


def test_the_longest_names_leave_the_figures_their_room(
    one: RunReport, two: RunReport, recwarn: pytest.WarningsRecorder
) -> None:
    short = {figure.name: figure.png for figure in draw_figures([replace(one, name="a"), replace(two, name="b")])}
    widest = [replace(run, name=f"{letter * 63}, step 120,000") for run, letter in ((one, "m"), (two, "w"))]
    for figure in draw_figures(widest):
        image, plain = (
            cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) for png in (figure.png, short[figure.name])
        )
        assert image is not None
        assert plain is not None
        assert image.shape == plain.shape
        assert (image[:, -1] == 255).all(), f"{figure.name}: something is cut at the right"
    assert not [str(warning.message) for warning in recwarn if "layout" in str(warning.message)]


PROBE = """<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const all = [...page.querySelectorAll("main *")];
  document.body.dataset.probe = JSON.stringify({
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    outside: all.filter(
      e => !e.closest(".table") && e.getBoundingClientRect().right > page.body.clientWidth + 1).length,
    columns: getComputedStyle(page.querySelector(".grid")).gridTemplateColumns.split(" ").length,
    blank: [...page.images].filter(image => !image.naturalWidth).length,
    images: page.images.length,
    letters: parseFloat(getComputedStyle(page.querySelector("figcaption")).fontSize),
  });
});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install -y chromium")
@pytest.mark.parametrize("names", [("first run", "second <run>"), (f"{'a' * 63}, step 1", f"{'b' * 63}, step 2")])
@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_the_page_fits_a_phone_and_a_desk(
    one: RunReport, two: RunReport, tmp_path: Path, width: int, columns: int, names: tuple[str, str]
) -> None:
    runs = [replace(run, name=name) for run, name in zip((one, two), names, strict=True)]
    page = report_files(runs)["report.html"].decode().replace(' loading="lazy"', "")
    frame = f'<iframe srcdoc="{html.escape(page)}" style="width:{width}px;height:3000px;border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{PROBE}{frame}</body>")
    assert CHROMIUM is not None
    flags = [f"--{flag}" for flag in FLAGS.split()]
    command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-probe="([^"]*)"', shown)
    assert found is not None, shown[-500:]
    seen = json.loads(html.unescape(found[1]))
    assert seen["overflow"] == seen["outside"] == seen["blank"] == 0
    assert seen["columns"] == columns
    assert seen["images"] == 19
    assert seen["letters"] >= 13
