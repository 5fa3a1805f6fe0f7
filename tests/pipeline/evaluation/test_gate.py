"""The gate's rules."""

import json
from dataclasses import replace

import pytest

from lhrnet.coco import KEYPOINTS
from lhrnet.metrics.matching import Difference
from pipeline.evaluation.gate import Decision, GateConfig, Measurements, decide, to_markdown

SURE = Difference(mean=0.05, low=0.03, high=0.07, share=0.99, resamples=1000)


def _figures(version: str, ap: float, **changes: float) -> Measurements:
    scores = {"ap": ap, "ap_medium": ap - 0.05, "ap_large": ap + 0.05}
    oks = dict.fromkeys(KEYPOINTS, 0.8)
    for name, value in changes.items():
        (scores if name in scores else oks)[name] = value
    return Measurements(
        version=version, scores=scores, keypoint_oks=oks, params=5_900_000, macs=4_800_000_000, latency_ms=90.0,
        device="cpu", protocol={"name": "plain", "size": 448},
    )  # fmt: skip


def _decide(
    config: GateConfig, new: Measurements, old: Measurements | None, difference: Difference | None = SURE
) -> Decision:
    return decide(config, new, old, difference if old else None, data={"url": "shards/val2017"})


def _failed(decision: Decision) -> list[str]:
    return [rule.name for rule in decision.rules if not rule.passed]


def test_a_better_challenger_is_accepted_and_the_reason_names_the_gain() -> None:
    decision = _decide(GateConfig(), _figures("2", 0.55), _figures("1", 0.50))
    assert decision.accepted
    assert "+0.0500" in decision.reason


def test_a_first_model_needs_no_champion_but_meets_the_floor() -> None:
    assert _decide(GateConfig(), _figures("1", 0.1), None).accepted
    low = _decide(GateConfig(min_ap=0.2), _figures("1", 0.1), None)
    assert _failed(low) == ["minimum AP"]
    assert "0.1000" in low.reason
    assert "0.2000" in low.reason


@pytest.mark.parametrize(
    ("config", "new", "difference", "rule"),
    [
        (GateConfig(min_gain=0.06), _figures("2", 0.55), SURE, "minimum gain"),
        (GateConfig(confidence=0.995), _figures("2", 0.55), SURE, "confidence"),
        (GateConfig(max_params=5_000_000), _figures("2", 0.55), SURE, "maximum params"),
        (GateConfig(max_macs=4_000_000_000), _figures("2", 0.55), SURE, "maximum macs"),
        (GateConfig(max_latency_ms=89.9), _figures("2", 0.55), SURE, "maximum latency"),
        (GateConfig(), _figures("2", 0.55, ap_medium=0.41), SURE, "no size worse"),
        (GateConfig(), _figures("2", 0.55, left_wrist=0.74), SURE, "no keypoint worse"),
    ],
)
def test_each_rule_alone_refuses(config: GateConfig, new: Measurements, difference: Difference, rule: str) -> None:
    decision = _decide(config, new, _figures("1", 0.50), difference)
    assert not decision.accepted
    assert _failed(decision) == [rule]


def test_a_refusal_says_which_class_fell_and_by_how_much() -> None:
    assert (
        "left_wrist -0.0600" in _decide(GateConfig(), _figures("2", 0.55, left_wrist=0.74), _figures("1", 0.5)).reason
    )


def test_a_refusal_names_the_three_worst_classes_and_counts_the_others() -> None:
    fallen = {"nose": 0.6, "left_hip": 0.5, "left_ear": 0.7, "right_ear": 0.72, "left_knee": 0.71}
    reason = _decide(GateConfig(), _figures("2", 0.55, **fallen), _figures("1", 0.5)).reason
    assert "left_hip -0.3000, nose -0.2000, left_ear -0.1000 and 2 more" in reason


def test_a_size_class_the_split_does_not_have_is_not_compared() -> None:
    assert _decide(GateConfig(), _figures("2", 0.55, ap_medium=-1.0), _figures("1", 0.50)).accepted


def test_a_model_that_is_only_as_good_does_not_take_the_place() -> None:
    same = Difference(mean=0.0, low=0.0, high=0.0, share=0.0, resamples=1000)
    assert _failed(_decide(GateConfig(), _figures("2", 0.5), _figures("1", 0.5), same)) == [
        "minimum gain",
        "confidence",
    ]


def test_a_limit_that_is_just_met_passes() -> None:
    config = GateConfig(max_params=5_900_000, max_latency_ms=90.0, min_ap=0.5)
    assert _decide(config, _figures("2", 0.5), None).accepted


def test_a_comparison_without_its_bootstrap_is_an_error() -> None:
    with pytest.raises(ValueError, match="bootstrap"):
        decide(GateConfig(), _figures("2", 0.5), _figures("1", 0.4), None, data={})


def test_the_decision_is_json_and_a_page_that_names_every_rule_and_figure() -> None:
    decision = _decide(GateConfig(), _figures("2", 0.55, left_wrist=0.74), _figures("1", 0.5))
    stored = json.loads(json.dumps(decision.as_dict()))
    assert stored["accepted"] is False
    assert stored["champion"]["version"] == "1"
    page = to_markdown(decision)
    assert page.startswith("# Version 2: refused")
    assert all(f"| {rule.name} |" in page for rule in decision.rules)
    assert "| OKS of left_wrist | 0.7400 | 0.8000 | -0.0600 |" in page
    assert "| params | 5,900,000 | 5,900,000 | +0 |" in page


def test_the_page_of_a_first_model_has_no_second_column() -> None:
    assert "no champion" in to_markdown(_decide(GateConfig(), _figures("1", 0.5), None))


def test_the_page_says_how_each_was_scored() -> None:
    new, old = _figures("2", 0.55), _figures("1", 0.5)
    assert "Scored with: name plain, size 448." in to_markdown(_decide(GateConfig(), new, old))
    smaller = replace(new, protocol={"name": "plain", "size": 128})
    page = to_markdown(_decide(GateConfig(), smaller, old))
    assert "Version 2 scored with: name plain, size 128." in page
    assert "Version 1 scored with: name plain, size 448." in page


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        (_figures("2", float("nan")), "minimum AP"),
        (_figures("2", 0.55, ap_large=float("nan")), "no size worse"),
        (_figures("2", 0.55, left_wrist=float("nan")), "no keypoint worse"),
    ],
)
def test_a_figure_that_is_no_number_passes_no_rule(new: Measurements, rule: str) -> None:
    assert rule in _failed(_decide(GateConfig(), new, _figures("1", 0.50)))
