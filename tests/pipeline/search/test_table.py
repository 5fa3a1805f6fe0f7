"""The answer's figures: means and spreads over seeds, pairs with and without the exchange, fronts, the choice."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lhrnet.network import ModelConfig, profile
from pipeline.config.tree import load, parse
from pipeline.evaluation.gate import GateConfig
from pipeline.search.answer import chosen_yaml, is_of_val2017
from pipeline.search.figure import picture
from pipeline.search.markdown import page
from pipeline.search.record import State, TrialRecord, TrialRecords, ValidationScore
from pipeline.search.table import Cost, Spread, best_at, choose, front, gains, rows

COUNTS = {
    r: Cost.of(profile(ModelConfig(r=r)), native=True, latency_ms=10.0 + r, device="a processor") for r in (0, -1, -2)
}


def trial(r: int, cem: str, seed: int, ap: float, state: State = "finished", lr: float | None = None) -> TrialRecord:
    setting = {"model.r": r, "model.cem": cem, **({"optim.lr": lr} if lr else {})}
    name = f"r{r}-{cem}-{lr}-{seed}"
    return TrialRecord(name=name, setting=setting, seed=seed, state=state, ap=ap, step=50, error="out of tune")


def costs(records: list[TrialRecord]) -> dict[str, Cost]:
    return {record.name: COUNTS[record.setting["model.r"]] for record in records}


TRIALS = [
    trial(-2, "none", 0, 0.40),
    trial(-2, "none", 1, 0.44),
    trial(-2, "half-reordered", 0, 0.43),
    trial(-2, "half-reordered", 1, 0.45),
    trial(-1, "none", 0, 0.50),
    trial(-1, "half-reordered", 1, 0.52),
    trial(0, "none", 0, 0.30, "pruned"),
    trial(0, "full", 0, -1.0, "failed"),
]


def test_repeats_of_a_setting_give_mean_and_spread_and_only_whole_runs_count() -> None:
    table = {(row.r, row.cem): row for row in rows(TRIALS, costs(TRIALS))}
    both = table[-2, "none"].ap
    assert both is not None
    assert both.mean == pytest.approx(0.42)
    assert both.deviation == pytest.approx(0.0282843, abs=1e-6)
    assert both.count == 2
    assert table[-1, "none"].ap == Spread(mean=0.5, deviation=None, count=1)
    assert (table[0, "none"].ap, table[0, "none"].pruned) == (None, ((0.3, 50),))
    assert table[0, "full"].failed == 1


def test_the_exchange_is_held_against_none_seed_by_seed() -> None:
    found = {gain.with_it.r: gain for gain in gains(rows(TRIALS, costs(TRIALS)))}
    assert found.keys() == {-1, -2}
    assert found[-2].paired
    assert found[-2].difference.mean == pytest.approx(0.02)  # (0.03 + 0.01) / 2
    assert found[-2].difference.deviation == pytest.approx(0.014142, abs=1e-6)
    assert found[-2].paper == pytest.approx(0.012)
    # no seed in common: the means' difference, without a spread
    assert not found[-1].paired
    apart = found[-1].difference
    assert apart.mean == pytest.approx(0.02)
    assert (apart.deviation, apart.count) == (None, 1)


def test_settings_are_compared_at_equal_other_keys_only() -> None:
    records = [trial(-2, "none", 0, 0.4), trial(-2, "full", 0, 0.5, lr=0.1), trial(-2, "full", 0, 0.45)]
    [gain] = gains(rows(records, costs(records)))
    assert gain.difference.mean == pytest.approx(0.05)


def test_the_front_is_what_nothing_beats() -> None:
    assert front([]) == []
    assert front([(1, 0.2), (2, 0.1), (3, 0.4), (3, 0.3), (4, 0.4)]) == [0, 2]
    assert front([(2, 0.5), (1, 0.5)]) == [1]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_that_of_the_definition(points: list[tuple[int, int]]) -> None:
    def beaten(i: int) -> bool:
        cost, ap = points[i]
        return any(c <= cost and a >= ap and (c, a) != (cost, ap) for c, a in points)

    assert set(front(points)) == {i for i in range(len(points)) if not beaten(i)}


def test_the_choice_is_the_best_that_the_gates_ceilings_allow() -> None:
    table = rows(TRIALS, costs(TRIALS))
    best, small = choose(table, GateConfig()), choose(table, GateConfig(max_macs=5_000_000_000))
    assert best is not None
    assert (best.r, best.cem) == (-1, "half-reordered")
    assert small is not None
    assert (small.r, small.cem) == (-2, "half-reordered")
    assert choose(table, GateConfig(max_params=1)) is None
    assert choose(table, GateConfig(max_latency_ms=1.0)) is None


def test_a_mean_of_the_seeds_that_were_let_go_on_is_said_to_be_that_and_chosen_last() -> None:
    lucky = [trial(-1, "none", 0, 0.50), trial(-1, "none", 1, 0.1, "pruned"), trial(-1, "none", 2, -1.0, "failed")]
    records = [*lucky, trial(-2, "none", 0, 0.40), trial(-2, "none", 1, 0.44)]
    table = rows(records, costs(records))
    chosen = choose(table, GateConfig())
    assert chosen is not None
    assert chosen.r == -2
    text = page("s", table, [], chosen, scored_on="drawn val2017")
    assert [line.split("|")[9].strip() for line in text.splitlines() if line.startswith("|  -")] == ["1 of 3", "2"]
    assert "its AP is the mean of those that did" in text
    alone = rows(lucky, costs(lucky))
    assert "AP 0.500 (1 of 3 runs)" in page("s", alone, [], choose(alone, GateConfig()), scored_on="drawn val2017")


@pytest.mark.parametrize(
    ("dataset", "images", "comparable"),
    [
        ("coco", 5000, True),
        ("coco", 500, False),
        ("COCO2017", 5000, True),
        ("coco-mini", 25, False),
        ("drawn", 5000, False),
    ],
)
def test_the_papers_values_stand_beside_those_of_cocos_whole_val2017(
    dataset: str, images: int, comparable: bool
) -> None:
    assert is_of_val2017(dataset, "val2017", images) is comparable


def test_the_page_shows_our_figures_beside_the_papers() -> None:
    table = rows(TRIALS, costs(TRIALS))
    text = page("s", table, gains(table), choose(table, GateConfig()), scored_on="drawn val2017", failures=["x: out"])
    [ours] = [line for line in text.splitlines() if "0.440 ± 0.014" in line and "5.94M" in line]
    assert [cell.strip() for cell in ours.strip("|").split("|")] == [
        *("-2", "half-reordered", "448", "5.94M", "5.49B", "4.79G", "8.0", "0.440 ± 0.014", "2"),
        *("5.9M", "5.5B", "0.466"),
    ]
    [gain] = [line for line in text.splitlines() if "+0.020 ± 0.014" in line]
    assert "+0.012" in gain
    assert "(0.300 at step 50)" in text
    assert "Chosen: r -1, CEM half-reordered" in text
    assert "- x: out" in text
    assert "search.repeats" not in text
    widths = {len(line) for line in text.split("## With")[0].splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_figures_of_single_runs_are_said_to_be_that() -> None:
    table = rows(TRIALS[:1], costs(TRIALS))
    assert "set search.repeats=3" in page("s", table, [], None, scored_on="drawn val2017")


def test_fronts_leave_out_what_was_not_measured() -> None:
    table = rows(TRIALS, costs(TRIALS))
    assert [row.r for row in best_at(table, lambda row: row.cost.macs)] == [-2, -1]
    assert best_at(table, lambda row: None) == []


@pytest.mark.parametrize("on_coco", [True, False])
def test_the_picture_is_drawn_even_where_little_is_known(on_coco: bool) -> None:
    table = rows(TRIALS, costs(TRIALS))
    assert picture(table, title="t", on_coco=on_coco).startswith(b"\x89PNG")
    assert picture(table[:1], title="t", on_coco=on_coco).startswith(b"\x89PNG")


def test_the_chosen_config_is_one_that_train_takes(tmp_path: Path) -> None:
    tree = {"name": "a", "storage": "/runs", "data": {"train": "/t", "val": "/v"}, "search": {"r": [-4]}}
    also = {"model.r": -3, "model.cem": "full", "optim.lr": 0.5}
    file = tmp_path / "chosen.yaml"
    file.write_text(chosen_yaml(parse(tree), also))
    chosen = load(file)
    assert (chosen.name, chosen.storage) == ("a-chosen", "/runs")
    assert (chosen.model.r, chosen.model.cem, chosen.optim.lr) == (-3, "full", 0.5)
    assert yaml.safe_load(file.read_text())["optim"]["lr"] == 0.5


def test_records_come_back_as_they_were_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    kept = TrialRecords.read(str(tmp_path))
    first = trial(-2, "none", 0, 0.4)
    kept.write(first.saw(ValidationScore(step=60, part=60, ap=0.41)).saw(ValidationScore(step=60, part=60, ap=0.1)))
    back = TrialRecords.read(str(tmp_path)).by_name[first.name]
    assert (back.ap, back.step, len(back.seen)) == (0.41, 60, 1)
    assert back == kept.by_name[first.name] == TrialRecords.read_one(str(tmp_path), first.name)
    assert TrialRecords.read_one(str(tmp_path), "another") is None
    place = tmp_path / "records" / f"{first.name}.json"
    place.write_text(json.dumps({"name": "x", "setting": {}, "seed": "many"}))
    with pytest.raises(ValueError, match=r"is no record of a trial \(seed"):
        TrialRecords.read(str(tmp_path))


def test_what_a_writer_left_that_was_killed_is_no_record(tmp_path: Path) -> None:
    kept = TrialRecords.read(str(tmp_path))
    kept.write(trial(-2, "none", 0, 0.4))
    half = tmp_path / "records" / ".r-2-none-s0.json.o1bi4ud0"  # as `storage.atomic` names what is not whole yet
    half.write_text('{"name": "r-2-no')
    assert TrialRecords.read(str(tmp_path)).by_name == kept.by_name
    assert half.exists(), "another process may still be writing it"


def test_an_ap_that_is_no_number_is_neither_the_best_nor_in_a_mean(tmp_path: Path) -> None:
    nan = float("nan")
    found = rows([*TRIALS, trial(0, "none", 7, nan)], costs([*TRIALS, trial(0, "none", 7, nan)]))
    chosen = choose(found, GateConfig())
    assert chosen is not None
    assert (chosen.r, chosen.cem) == (-1, "half-reordered")
    records = TrialRecords(str(tmp_path))
    records.write(trial(0, "none", 7, 0.5))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text().replace('"ap": 0.5', '"ap": NaN'))
    assert TrialRecords.read(str(tmp_path)).in_order()[0].ap == -1.0
    assert ValidationScore(step=1, part=1, ap=nan).ap == -1.0
