"""Settings: one tree, errors that name the key, the value and what is allowed."""

from pathlib import Path

import pytest

from pipeline.config.tree import known_keys, load, override, parse

CONFIGS = Path(__file__).resolve().parents[3] / "jobs" / "configs"
LEAST = {"name": "a", "storage": "/runs", "data": {"train": "/t", "val": "/v"}}


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"optim\.lrr is unknown \(value 0\.1\): did you mean optim\.lr\?"):
        parse(LEAST | {"optim": {"lrr": 0.1}})


def test_an_unknown_section_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"trian is unknown .*did you mean train\?"):
        parse(LEAST | {"trian": {}})


def test_a_known_key_in_the_wrong_section_is_pointed_to() -> None:
    with pytest.raises(ValueError, match=r"data\.lr is unknown .*did you mean optim\.lr\?"):
        parse(LEAST | {"data": {"train": "/t", "val": "/v", "lr": 1}})


@pytest.mark.parametrize(
    ("item", "allowed"),
    [
        ("stream.lanes=0", "greater than 0"),
        ("stream.loader_workers=-1", "greater than or equal to 0"),
        ("stream.cache_gb=0", "greater than 0"),
        ("augment.min_scale=0", "greater than 0"),
        ("augment.rotation=181", "less than or equal to 180"),
        ("augment.flip=1.5", "less than or equal to 1"),
        ("optim.lr=-1", "greater than 0"),
        ("optim.warmup=1", "less than 1"),
        ("optim.grad_clip=-1", "greater than or equal to 0"),
        ("train.workers=0", "greater than 0"),
        ("train.steps=0", "greater than 0"),
        ("train.validate_every=-1", "greater than or equal to 0"),
        ("evaluate.size=32", "greater than or equal to 64"),
        ("evaluate.cpus_per_worker=-0.5", "greater than or equal to 0"),
        ("evaluate.protocol=best", "'plain', 'flip' or 'multi-scale'"),
        ("gate.min_ap=1.5", "less than or equal to 1"),
        ("gate.max_params=0", "greater than 0"),
        ("gate.resamples=10", "greater than or equal to 100"),
        ("search.reduction=1", "greater than or equal to 2"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key_and_what_is_allowed(item: str, allowed: str) -> None:
    key, _, value = item.partition("=")
    with pytest.raises(ValueError, match=rf"^config key {key}: got '?{value}'?; input should be {allowed}$"):
        parse(override(LEAST, [item]))


@pytest.mark.parametrize("name", ["", "a b"])
def test_the_name_of_a_registered_model_has_letters_digits_and_dashes_alone(name: str) -> None:
    with pytest.raises(ValueError, match=rf"gate\.model: got '{name}'; string should match pattern"):
        parse(LEAST | {"gate": {"model": name}})


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (["augment.min_scale=2", "augment.max_scale=1"], r"augment\.min_scale is 2\.0; allowed: at most max_scale"),
        (["optim.milestones=[0.9,0.5]"], r"optim\.milestones is \(0\.9, 0\.5\); allowed: .* rising order"),
        (["train.workers=2", "train.global_batch=5"], r"train\.global_batch is 5; allowed: multiples of workers \(2\)"),
        (["train.workers=2", "train.min_workers=3"], r"train\.min_workers is 3; allowed: at most workers \(2\)"),
        (["train.steps=1", "train.epochs=1"], r"train\.steps is 1 and epochs 1\.0; allowed: one of the two"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named(items: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=f"^config key {says}"):
        parse(override(LEAST, items))


@pytest.mark.parametrize(
    "item",
    [
        "train.epochs=.inf",
        "optim.grad_clip=.nan",
        "loss.sigma=.inf",
        "augment.rotation=.nan",
        "optim.milestones=[.nan]",
    ],
)
def test_numbers_that_are_not_finite_are_refused(item: str) -> None:
    key, _, value = item.partition("=")
    with pytest.raises(ValueError, match=rf"{key}\S*: got {value.strip('[].')}; input should be a finite number"):
        parse(override(LEAST, [item]))


def test_a_choice_names_its_choices() -> None:
    with pytest.raises(ValueError, match=r"optim\.name: got 'sgd'; input should be 'adam' or 'adamw'"):
        parse(LEAST | {"optim": {"name": "sgd"}})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"storage is required"):
        parse({key: value for key, value in LEAST.items() if key != "storage"})


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)optim\.lr.*train\.workers"):
        parse(LEAST | {"optim": {"lr": -1}, "train": {"workers": 0}})


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a" * 64, "a b"])
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="config key name"):
        parse(LEAST | {"name": name})


def test_overrides_are_parsed_as_yaml_and_lie_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nstorage: /runs\ndata: {train: /t, val: /v}\noptim: {lr: 0.5}\n")
    config = load(file, ["optim.lr=1e-3", "optim.milestones=[0.5, 0.75]", "train.min_workers=null", "name=b"])
    assert config.optim.lr == 1e-3
    assert config.optim.milestones == (0.5, 0.75)
    assert config.train.min_workers is None
    assert config.name == "b"


def test_an_override_leaves_the_given_tree_as_it_was() -> None:
    tree = {"optim": {"lr": 1}}
    assert override(tree, ["optim.lr=2"]) == {"optim": {"lr": 2}}
    assert tree == {"optim": {"lr": 1}}


@pytest.mark.parametrize("item", ["optim.lr", "=3", "name.x=1"])
def test_an_override_of_another_form_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="override"):
        override(LEAST, [item])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml")


def test_the_resolved_tree_gives_the_same_config_back() -> None:
    config = load(CONFIGS / "coco.yaml")
    assert parse(config.tree()) == config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_projects_own_files_open_with_their_command_and_comment_every_key(path: Path) -> None:
    load(path)
    lines = path.read_text().splitlines()
    assert "lhrnet" in lines[0]
    assert f"jobs/configs/{path.name}" in lines[0]
    keys = [line for line in lines if not line.startswith("#") and ":" in line and not line.rstrip().endswith(":")]
    assert [line for line in keys if " # " not in line] == []


def test_known_keys_reach_into_nested_sections() -> None:
    assert {"name", "optim.lr", "model.r", "stream.lanes", "evaluate.protocol"} <= known_keys()


def test_tags_at_half_resolution_are_trained_only_where_the_network_has_them() -> None:
    asked = LEAST | {"loss": {"tags_at_half": True}}
    assert parse(asked).model.half_channels == 34
    for model in ({"tags_at_half": False}, {"name": "higherhrnet-w32"}):
        with pytest.raises(ValueError, match=r"^config key loss\.tags_at_half is true, but .*; set both to true"):
            parse(asked | {"model": model})
    assert parse(asked | {"model": {"name": "higherhrnet-w32", "tags_at_half": True}}).loss.tags_at_half


@pytest.mark.parametrize(
    ("item", "taken"),
    [
        ("name=2026-11-27", "2026-11-27"),
        ("name=007", "007"),
        ("name=3.10", "3.10"),
        ("name=on", "on"),
        ("stream.cache=", ""),
        ("data.test=", ""),
        ("tracking.experiment=2026", "2026"),
        ("tracking.experiment=null", "null"),
        ("tracking.experiment='two words'", "two words"),
        ("storage=runs/it's", "runs/it's"),
        ("data.val=s3://b/a #1", "s3://b/a #1"),
        ("model.cem=none", "none"),
    ],
)
def test_a_text_is_taken_as_it_is_typed(item: str, taken: str) -> None:
    key = item.partition("=")[0]
    assert parse(override(LEAST, [item])).flat()[key] == taken


def test_a_number_in_a_file_where_a_text_belongs_is_told_to_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: 007\nstorage: runs\ndata: {train: t, val: v}\n")
    with pytest.raises(ValueError, match=r"config key name: got 7.* in quotes"):
        load(tmp_path / "a.yaml")
