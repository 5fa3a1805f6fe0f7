"""`lhrnet evaluate`, `submit`, `promote`, `models` and `rollback` as a person types them, without any server."""

import dataclasses
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from jobs.cli import app
from lhrnet.network.config import ModelConfig
from lhrnet.network.registry import create_model
from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.tree import load
from pipeline.evaluation import evaluate as scoring
from pipeline.evaluation import submission
from pipeline.runs import score as runs_score
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import write_split


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, shards, a checkpoint, an MLflow database."""
    root = tmp_path_factory.mktemp("release")
    write_coco(root / "coco", train=2, val=6, test=3, seed=5, config=SceneConfig(size=96), workers=1)
    for plan in make_plans(str(root / "coco"), str(root / "shards"), ["val2017", "test-dev2017"]):
        write_split(plan)
    model = ModelConfig(r=-4, input_size=64)
    tree = {
        "name": "try",
        "storage": str(root / "runs"),
        "data": {
            "train": f"{root}/shards/val2017",
            "val": f"{root}/shards/val2017",
            "test": f"{root}/shards/test-dev2017",
        },
        "model": {"r": -4, "input_size": 64},
        "evaluate": {"pictures": 2},
        "tracking": {"uri": f"sqlite:///{root}/mlflow.db"},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(tree))
    config = load(root / "config.yaml")
    torch.manual_seed(1)
    weights = create_model(model).state_dict()
    url = checkpoints.step_url(config.run_url, 3)
    checkpoints.save(Checkpoint(url=url, step=3, config=config.tree(), weights=weights), url)
    return root


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(place)

    def call(verb: str, *arguments: str, fails: str = "") -> Any:
        done = CliRunner().invoke(app, [verb, "-c", str(place / "config.yaml"), *arguments])
        if fails:
            assert fails in str(done.exception), done.output
            return None
        assert done.exception is None, done.output
        return json.loads(done.stdout.splitlines()[-1]) if "--json" in arguments else done.stdout

    return call


def test_evaluate_prints_the_figures_and_leaves_files_and_metrics(run: Any, place: Path) -> None:
    result = run("evaluate", "--protocol", "flip", "--json")
    assert set(result["scores"]) >= {"ap", "ap50", "ap75", "ap_medium", "ap_large", "ar"}
    assert result["protocol"]["flip"] is True
    assert result["latency"]["network_ms"] > 0
    out = Path(result["out"])
    assert len(json.loads((out / "detections.json").read_text())) == result["detections"]
    assert len(list((out / "pictures").glob("0*.jpg"))) == 2
    assert (out / "pictures" / "all.jpg").stat().st_size > 1000
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    logged = client.get_run(result["run"].rsplit("/", 1)[-1])
    label = f"val2017-{result['data']['index_sha256'][:8]}"
    assert logged.data.metrics[f"{label}/flip/ap"] == result["scores"]["ap"]
    folder = f"evaluation/{label}-flip/step-00000003"
    assert {a.path for a in client.list_artifacts(logged.info.run_id, folder)} >= {
        f"{folder}/detections.json",
        f"{folder}/evaluation.json",
    }


def test_evaluate_prints_a_table_for_people_and_takes_a_checkpoints_address(run: Any, place: Path) -> None:
    text = run("evaluate", f"{place}/runs/try/checkpoints/step-00000003", "--out", f"{place}/out")
    assert "ap_medium" in text
    assert (place / "out" / "evaluation.json").is_file()


def test_another_checkpoint_than_the_configs_run_leaves_that_runs_files_alone(run: Any, place: Path) -> None:
    shutil.copytree(place / "runs/try/checkpoints", place / "runs/else/checkpoints")
    untracked = ("tracking.enabled=false", "evaluate.pictures=0", "--json")
    result = run("evaluate", f"{place}/runs/else", "evaluate.size=128", *untracked)
    label = f"val2017-{result['data']['index_sha256'][:8]}-plain-128"
    assert result["out"] == f"{place}/runs/else/evaluation/{label}/step-00000003"
    sent = run("submit", f"{place}/runs/else", *untracked)
    label = f"test-dev2017-{sent['data']['index_sha256'][:8]}-plain-step-00000003"
    assert Path(sent["file"]).parent == place / "runs/else/submissions" / label


def test_two_data_sets_of_one_split_name_leave_each_others_files_and_figures_alone(
    run: Any, place: Path, tmp_path: Path
) -> None:
    write_coco(tmp_path / "coco", train=1, val=2, seed=9, config=SceneConfig(size=96), workers=1)
    for plan in make_plans(str(tmp_path / "coco"), str(tmp_path / "shards"), ["val2017"]):
        write_split(plan)
    folder, client = place / "runs/try", MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    verbs = (("report", "--pictures", "0"), ("submit", "--val", "--json"), ("evaluate", "--json"))

    def kept() -> dict[str, bytes]:
        below = [folder / name for name in ("evaluation", "report", "submissions")]
        return {str(path): path.read_bytes() for root in below for path in root.rglob("*") if path.is_file()}

    for verb in verbs:
        result = run(*verb)
    run_id = result["run"].rsplit("/", 1)[-1]
    files, figures = kept(), client.get_run(run_id).data.metrics
    for verb in verbs:
        run(*verb, f"data.val={tmp_path}/shards/val2017")
    assert files.items() <= kept().items(), "none of the first set's was changed"
    assert figures.items() <= client.get_run(run_id).data.metrics.items()
    for kind in ("evaluation", "report", "submissions"):
        for names in ([path.name for path in (folder / kind).iterdir()], client.list_artifacts(run_id, kind)):
            assert len([name for name in names if "val2017-" in str(name) and "plain" in str(name)]) >= 2, kind


def test_a_network_that_finds_nobody_scores_zero_and_has_a_submission(run: Any, place: Path) -> None:
    config = load(place / "config.yaml")
    weights = {name: tensor * 0 for name, tensor in create_model(config.model).state_dict().items()}
    url = checkpoints.step_url(f"{place}/runs/blind", 1)
    checkpoints.save(Checkpoint(url=url, step=1, config=config.tree(), weights=weights), url)
    result = run("evaluate", url, "tracking.enabled=false", "--json")
    assert result["detections"] == 0
    assert {value for value in result["scores"].values() if value != -1} == {0.0}
    sent = run("submit", url, "tracking.enabled=false", "--val", "--json")
    assert submission.read_zip(Path(sent["file"]).read_bytes(), sent["file"])[2] == []
    assert sent["scores"] == result["scores"]


def test_the_report_lies_in_the_runs_folder_and_in_mlflow(run: Any, place: Path) -> None:
    text = run("report", "--pictures", "1")
    page = re.search(r"^report: (.*/report\.html)$", text, re.MULTILINE)
    assert page is not None
    folder = Path(page[1]).parent
    assert folder.parent == place / "runs/try/report"
    assert re.fullmatch(r"val2017-[0-9a-f]{8}-plain-step-00000003", folder.name)
    assert f"report: {folder}/report.html" in text
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    run_id = re.search(r"runs/(\w+)$", text.strip())
    assert run_id is not None
    kept = {
        Path(entry.path).relative_to(f"report/{folder.name}").as_posix()
        for below in ("", "/figures", "/pictures")
        for entry in client.list_artifacts(run_id[1], f"report/{folder.name}{below}")
        if not entry.is_dir
    }
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == written
    assert {"report.html", "report.json", "figures/precision-recall-1.png"} <= kept


def test_each_comparison_lies_in_a_folder_of_its_own(run: Any, place: Path) -> None:
    own = checkpoints.load(f"{place}/runs/try")
    for name in ("bb", "cc"):
        url = checkpoints.step_url(f"{place}/runs/{name}", 4)
        checkpoints.save(dataclasses.replace(own, url=url, step=4, config={**own.config, "name": name}), url)
        run("report", f"{place}/runs/try", url, "--pictures", "0", "tracking.enabled=false")
    for name in ("bb", "cc"):
        own_name = f"val2017-*-plain-step-00000003-against-{name}-step-00000004"
        (folder,) = (place / "runs/try/report").glob(own_name)
        compared = json.loads((folder / "report.json").read_text())
        assert [entry["name"] for entry in compared] == ["try, step 3", f"{name}, step 4"]


def test_a_report_leaves_none_of_the_pictures_of_the_one_before(run: Any, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "mine.jpg").write_bytes(b"mine")
    for pictures, kept in ((2, 6), (1, 3)):
        run("report", "--pictures", str(pictures), "--out", str(tmp_path), "tracking.enabled=false")
        assert len(list((tmp_path / "pictures").glob("1-*.jpg"))) == kept
    assert (tmp_path / "pictures" / "mine.jpg").read_bytes() == b"mine"


def test_evaluate_works_without_a_tracker(run: Any) -> None:
    assert run("evaluate", "tracking.enabled=false", "--json")["run"] is None


def test_submit_writes_cocos_zip_and_prints_no_ap(run: Any) -> None:
    text = run("submit", "--name", "mine")
    assert "AP" not in text
    assert "ap " not in text
    result = run("submit", "--name", "mine", "--json")
    assert "scores" not in result
    file = Path(result["file"])
    assert file.name == "person_keypoints_test-dev2017_mine_results.zip"
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        assert archive.namelist() == ["person_keypoints_test-dev2017_mine_results.json"]


def test_the_rehearsal_scores_the_zip_as_evaluate_scores_the_model(run: Any) -> None:
    rehearsed = run("submit", "--val", "--json")
    assert Path(rehearsed["file"]).name == "person_keypoints_val2017_lightweight-hrnet_results.zip"
    assert rehearsed["scores"] == run("evaluate", "--json")["scores"]


def test_what_is_printed_names_the_place_that_was_written(run: Any, tmp_path: Path) -> None:
    for folder in ("o [v2]", "[/v2]"):
        out = f"{tmp_path}/{folder}"
        assert f"\nout: {out}\n" in run("evaluate", "--out", out, "tracking.enabled=false", "evaluate.pictures=0")
        sent = run("submit", "--out", out, "tracking.enabled=false")
        assert f": {out}/person_keypoints_test-dev2017_lightweight-hrnet_results.zip\n" in sent


def test_a_name_with_json_in_it_names_zip_and_file_alike(run: Any) -> None:
    file = Path(run("submit", "--name", "a.json.zip.b", "--json")["file"])
    assert file.name == "person_keypoints_test-dev2017_a.json.zip.b_results.zip"
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [f"{file.stem}.json"]


def test_submit_refuses_bad_names_and_other_splits_before_any_work(run: Any, place: Path) -> None:
    run("submit", "--name", "my_name", fails="refuse the name")
    run("submit", f"data.test={place}/shards/val2017", fails="holds val2017, and test-dev2017 is to be submitted")
    run("submit", "data.test=''", fails="data.test is not set")


def test_a_split_that_lacks_images_is_not_sent_as_if_it_were_whole(run: Any, place: Path, tmp_path: Path) -> None:
    coco = Path(shutil.copytree(place / "coco", tmp_path / "coco"))
    lost = {}
    for split in ("val2017", "test-dev2017"):
        image = min((coco / ("test2017" if split == "test-dev2017" else split)).iterdir())
        image.write_bytes(image.read_bytes()[:200])
        lost[split] = int(image.stem)
    for plan in make_plans(str(coco), str(tmp_path / "shards"), ["val2017", "test-dev2017"]):
        write_split(plan)
    data = [f"data.{k}={tmp_path}/shards/{s}" for k, s in (("val", "val2017"), ("test", "test-dev2017"))]
    given = (*data, "tracking.enabled=false", "--out", str(tmp_path / "out"))
    run("submit", *given, fails=f"lacks 1 images of test-dev2017 (such as {lost['test-dev2017']}; the first: ")
    run("submit", "--val", *given, fails=f"lacks 1 images of val2017 (such as {lost['val2017']}; the first: ")
    assert not (tmp_path / "out").exists()
    assert "1 images of test-dev2017 are in no shard and left out" in run("submit", "--partial", *given)
    sent = run("submit", "--val", "--partial", "--json", *given)
    assert (sent["data"]["images"], sent["data"]["left_out"]) == (5, 1)
    assert "1 images of the split, which are in no shard" in run("evaluate", *given)


def test_promote_models_and_rollback(run: Any) -> None:
    dry = run("promote", "--dry-run", "--json")
    assert dry["decision"]["accepted"]
    assert run("models", "--json")["versions"] == []
    result = run("promote", "--json")
    assert result["moved"]["new"] == result["version"] == "1"
    listed = run("models", "--json")
    assert listed["versions"][0]["aliases"] == ["champion"]
    assert listed["history"][0]["action"] == "promote"
    assert "champion" in run("models")
    run("promote", fails="is the champion already")
    run("rollback", fails="first champion")
    assert run("submit", "--json")["version"] == "1"


def plainly(*arguments: str) -> Result:
    """A command as it is typed, without -c."""
    return CliRunner().invoke(app, arguments)


def test_a_checkpoints_own_config_is_taken_where_no_file_is_given(run: Any, place: Path) -> None:
    checkpoint = f"{place}/runs/try"
    figures = json.loads(plainly("evaluate", checkpoint, "--json").stdout)
    assert figures["data"]["url"] == f"{place}/shards/val2017"
    assert figures["scores"] == run("evaluate", "--json")["scores"]
    sent = json.loads(plainly("submit", checkpoint, "tracking.enabled=false", "--val", "--json").stdout)
    assert sent["checkpoint"].startswith(checkpoint)
    assert plainly("report", checkpoint, "--pictures", "0", "tracking.enabled=false").exit_code == 0
    judged = json.loads(plainly("promote", checkpoint, "--dry-run", "gate.model=own", "gate.min_ap=1", "--json").stdout)
    assert (judged["model"], judged["decision"]["accepted"]) == ("own", False)
    assert "own has no versions" in plainly("models", checkpoint, "gate.model=own").stdout
    assert "own has no champion" in str(plainly("rollback", checkpoint, "gate.model=own").exception)


@pytest.mark.parametrize(
    "verb", ["train", "tune", "config", "evaluate", "submit", "report", "promote", "models", "rollback"]
)
def test_without_a_config_or_a_checkpoint_a_verb_is_used_wrongly(verb: str, run: Any) -> None:
    done = plainly(verb)
    assert done.exit_code == 2
    assert "--config" in done.output


def test_a_versions_number_needs_a_config(run: Any) -> None:
    assert plainly("promote", "1").exit_code == 2


def test_a_setting_that_does_not_fit_a_checkpoints_config_is_named_with_it(run: Any, place: Path) -> None:
    done = plainly("evaluate", f"{place}/runs/try", "evaluate.bath=3")
    assert re.search(
        r"config of checkpoint .*runs/try, taken as no -c was given: .*evaluate\.bath", str(done.exception)
    )


def test_a_checkpoint_that_is_not_there_is_named(run: Any, place: Path) -> None:
    for verb in ("evaluate", "submit", "promote"):
        run(verb, f"{place}/nothing", fails="no checkpoint at")


def test_two_checkpoints_are_one_too_many(run: Any) -> None:
    run("evaluate", "one", "two", fails="give one checkpoint")


def test_a_tracker_that_is_away_is_an_error_before_anything_is_scored(run: Any) -> None:
    for verb in ("evaluate", "report", "submit", "promote"):
        run(verb, "tracking.uri=http://127.0.0.1:9", fails="MLflow at http://127.0.0.1:9 does not answer")


def test_a_version_that_does_not_exist_is_an_error(run: Any) -> None:
    run("promote", "7", fails="no version 7")


def test_a_registered_model_is_taken_wherever_a_checkpoint_is(
    run: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    version = run("promote", "gate.model=taken", "--json")["version"]
    registered = f"models:/taken/{version}"
    scored = run("evaluate", "--json")
    again = run("evaluate", registered, "--json")
    assert {key: again[key] for key in ("scores", "out", "checkpoint")}.items() <= scored.items()
    assert plainly("evaluate", registered, "--json").exception is None
    assert "report.html" in run("report", registered, "--pictures", "0")
    assert run("submit", registered, "--json")["checkpoint_sha256"] == run("submit", "--json")["checkpoint_sha256"]
    run("promote", registered, fails="promote takes its number")
    run("evaluate", "models:/taken/99", fails="name a version or alias that is there")


def test_a_deleted_experiment_is_named_before_the_work(run: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scoring, runs_score):
        monkeypatch.delattr(module, "predict_split")
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    client.delete_experiment(client.create_experiment("gone"))
    for verb in ("evaluate", "report", "submit", "promote"):
        run(verb, "tracking.experiment=gone", "gate.model=without-champion", fails="'gone' is deleted: restore it")
