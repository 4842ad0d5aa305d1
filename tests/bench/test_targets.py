"""The lines of docs/performance.md: medians against bounds, and what nobody measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import page
from bench.targets import Line, lines


def run(rate: float, seconds: float, first: float, after: float, peak: float) -> dict[str, float]:
    return {
        "rate": rate,
        "seconds": seconds,
        "first_batch": first,
        "after_last_step": after,
        "peak_mib": peak,
    }


def results(**changes: Any) -> dict[str, Any]:
    """Three rounds in which the middle one decides."""
    work = {"train": 640, "val": 128, "size": 224, "batch": 32, "epochs": 2}
    return {
        "settings": {"precision": "bf16", "timm": "parts", "work": work, "rounds": 3},
        "machine": {"processor": "one"},
        "training": {
            "plain": [run(10, 100, 4, 4, 2000)] * 3,
            "timm": [run(20, 60, 4, 3, 2000)] * 3,
            "ours": [run(rate, 51, 3.6, 3, 1500) for rate in (24, 23, 1)],
            "limit": [run(24, 30, 3, 1, 1000)] * 3,
        },
        "pipeline": {"seconds": 100.0, "training": 71.0, "decoding": 15.0},
        "commands": {
            "import mlflow": [1.0, 1.0, 2.0],
            "status": [1.3, 1.2, 2.6],
            "history": [1.4, 1.4, 2.8],
            "--help": [0.2, 0.2, 0.2],
            "dvc repro": [2.9, 3.0, 9.0],
        },
        "validation": [{"plain": 100, "first": 90, "again": 900}] * 3,
        **changes,
    }


def sets(*seconds: float, peaks: tuple[float, ...] = (500, 500, 590)) -> dict[str, Any]:
    one = [
        {"images": images, step: {"seconds": s, "peak_mib": peak}}
        for step in ("validate", "train")
        for images, s, peak in zip((1_000, 10_000, 50_000), seconds, peaks, strict=True)
    ]
    return {"sets": one, "machine": {"load before": "0.1"}}


def found(suite: dict[str, Any], growth: dict[str, Any] | None = None) -> dict[str, Line]:
    return {line.key: line for line in lines(suite, growth or {}, {})}


def test_a_median_at_its_bound_passes_and_one_beyond_it_fails() -> None:
    by_key = found(results())
    assert by_key["plain"].measured == "2.30 (0.10 to 2.40)"
    assert by_key["plain"].passed is False  # 2.4 where there is bf16
    assert by_key["timm"].passed is True
    assert by_key["limit"].measured == "0.96 (0.04 to 1.00)"
    assert by_key["whole"].passed is True
    assert by_key["end"].measured == "3.00 s (3.00 to 3.00)"
    assert by_key["end"].passed is True
    assert by_key["status"].passed is True
    assert by_key["history"].passed is False
    assert by_key["share"].measured == "0.14"
    assert by_key["share"].passed is True


def test_without_bf16_less_is_asked_for() -> None:
    suite = results()
    suite["settings"]["precision"] = "fp32"
    assert found(suite)["plain"].passed is True


def test_what_was_not_measured_neither_passes_nor_fails() -> None:
    suite = results(validation=[], commands={}, pipeline={})
    del suite["training"]["timm"]
    by_key = found(suite)
    for key in ("timm", "whole", "validate", "again", "share", "nothing", "status", "tuning"):
        assert by_key[key].passed is None
        assert by_key[key].measured == "not measured"


def test_growth_is_that_of_a_further_image_and_of_the_largest_memory() -> None:
    # 3 s to start, then 1 ms an image: a straight line, though 1,000 images take 4 ms each
    even = found(results(), sets(4.0, 13.0, 53.0))
    assert even["train-time"].measured == "0.00"
    assert even["train-memory"].measured == "0.18"
    steeper = found(results(), sets(4.0, 13.0, 61.0, peaks=(500, 500, 650)))
    assert steeper["validate-time"].passed is False
    assert steeper["validate-memory"].passed is False


def test_a_note_goes_to_its_line_and_can_say_what_was_measured_elsewhere() -> None:
    notes = {
        "end": {"note": "tried threads"},
        "demo": {"measured": "0.80; 0.75", "passed": True},
    }
    by_key = {line.key: line for line in lines(results(), {}, notes)}
    assert by_key["end"].note == "tried threads"
    assert by_key["demo"].verdict == "pass"


@pytest.mark.parametrize("peers", [True, False])
def test_the_page_has_every_target_and_says_what_was_not_measured(
    tmp_path: Path, peers: bool
) -> None:
    suite = results()
    if not peers:
        del suite["training"]["timm"]
        suite["settings"]["timm"] = ""
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    page.write(tmp_path, tmp_path / "performance.md")
    text = (tmp_path / "performance.md").read_text()
    assert all(line.what in text for line in lines(suite, {}, {}))
    assert "Not measured on GPU." in text
    assert ("timm was not measured in this run." in text) is not peers
    assert "**fail**" in text
    assert (tmp_path / "performance.png").stat().st_size > 10_000


def test_before_the_first_run_the_page_says_that_nothing_was_measured(tmp_path: Path) -> None:
    page.write(tmp_path, tmp_path / "performance.md")
    text = (tmp_path / "performance.md").read_text()
    assert "0 targets met, 0 missed, 20 not measured." in text
    assert "png" not in text
