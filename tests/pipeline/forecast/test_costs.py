"""The forecast of each step, by hand; and that no settings are too odd for it."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import STEPS
from pipeline.forecast import costs, in_words
from pipeline.forecast.costs import Span, Speeds, StepCost, Work, step_costs, total

WORK = Work(
    new=1_000,
    known=0,
    train=700,
    val=150,
    test=150,
    trial=200,
    first_trials=(4,),
    trial_epochs=(2, 8),
    num_trials=3,
    timeout_seconds=60,
    epochs=(2, 4, 8),
    image_size=128,
    streamed=False,
    champion=False,
)
SPEEDS = Speeds(
    new_file=0.002,
    known_file=0.0002,
    decode=0.001,
    predict=0.004,
    predict_alone=0.010,
    trial_image=0.003,
    trial_val=0.002,
    train_image=0.01,
    train_val=0.004,
    small_batch=None,
    checkpoint=0.5,
    scale=1.0,
    scan_mib=20,
    predict_mib=400,
    trial_mib=600,
    train_mib=900,
    batch_size=32,
    augmentation="light",
    device="cpu",
    gpu_gib=None,
    busy_cores=0,
)


@pytest.fixture(autouse=True)
def nothing_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not grow with the data: 1 s and 100 MiB a step, nothing a trial."""
    monkeypatch.setattr(costs, "_FIXED", dict.fromkeys(STEPS, (1.0, 100.0)))
    for name in ("_TRIAL_SECONDS", "_FILE_SECONDS", "_IMAGE_SECONDS"):
        monkeypatch.setattr(costs, name, 0.0)


def cost(step: str, work: Work = WORK, speeds: Speeds = SPEEDS) -> StepCost:
    return next(each for each in step_costs(work, speeds) if each.step == step)


def test_validate_reads_every_file_and_known_ones_faster() -> None:
    # 1 + 1,000 x 0.002; 100 + 20 MiB + 1,000 x 4 KiB
    assert cost("validate").seconds == pytest.approx((3, 3, 3))
    assert cost("validate").mib == pytest.approx(100 + 20 + 1_000 / 256)
    # 1 + 100 x 0.002 + 900 x 0.0002
    known = cost("validate", replace(WORK, new=100, known=900))
    assert known.seconds == pytest.approx((1.38, 1.38, 1.38))


def test_train_takes_its_epochs_from_the_fewest_to_the_most() -> None:
    # an epoch: 700 x 0.01 + 150 x 0.004 + 0.5 for the checkpoint
    assert cost("train").seconds == pytest.approx((1 + 2 * 8.1, 1 + 4 * 8.1, 1 + 8 * 8.1))
    assert cost("train").epochs == (2, 8)
    # pixels: 850 images of 3 x 128 x 128 bytes
    assert cost("train").mib == pytest.approx(100 + 900 + 850 * 3 * 128 * 128 / 2**20)


def test_train_has_no_range_where_the_epochs_are_given() -> None:
    found = cost("train", replace(WORK, epochs=(4, 4, 4)))
    assert found.epochs is None
    assert found.seconds.low == found.seconds.high


def test_tune_runs_the_default_first_and_the_others_between_pruned_and_whole() -> None:
    # an epoch: 200 x 0.003 + 150 x 0.002 = 0.9; before: 850 x 0.001 to decode, and 1 s
    before, first = 1.85, 4 * 0.9
    mean = (8 - 2) / 1.3862943611198906  # of a logarithmic scale: 6 / ln 4
    low = first + 2 * 2 * 0.75 * 0.9
    likely = first + 2 * mean * 0.875 * 0.9
    high = first + 2 * 8 * 0.9
    expected = (before + low, before + likely, before + high)
    assert cost("tune").seconds == pytest.approx(expected)


def test_the_time_limit_ends_tune_but_not_its_first_trial() -> None:
    limited = cost("tune", replace(WORK, timeout_seconds=5))
    assert limited.seconds == pytest.approx((6.85, 6.85, 6.85))
    first_alone = cost("tune", replace(WORK, timeout_seconds=1))
    assert first_alone.seconds == pytest.approx((5.45, 5.45, 5.45))  # 4 epochs of 0.9


def test_a_search_space_of_few_points_is_tried_once_each() -> None:
    every = replace(WORK, first_trials=(4, 2, 3), num_trials=3, trial_epochs=(2, 4))
    assert cost("tune", every).seconds.high == pytest.approx(1.85 + 9 * 0.9)
    fewer = replace(every, num_trials=2)
    assert cost("tune", fewer).seconds.high == pytest.approx(1.85 + 6 * 0.9)


def test_evaluate_decodes_and_predicts_the_test_images_and_times_some_alone() -> None:
    # 1 + 150 x (0.001 + 0.004) + 55 x (0.010 + 0.001)
    assert cost("evaluate").seconds == pytest.approx((2.355, 2.355, 2.355))


def test_a_champion_is_evaluated_on_the_test_images() -> None:
    assert cost("register").seconds.likely == pytest.approx(1)
    assert cost("register", replace(WORK, champion=True)).seconds.likely == pytest.approx(1.6)


def test_images_that_do_not_fit_the_cache_are_decoded_in_every_epoch() -> None:
    streamed = cost("train", replace(WORK, streamed=True))
    assert streamed.seconds.likely == pytest.approx(1 + 4 * (8.1 + 0.85))
    assert streamed.mib == pytest.approx(100 + 900)


def test_fixed_work_takes_longer_on_a_slower_machine() -> None:
    slow = cost("register", speeds=replace(SPEEDS, scale=2.5))
    assert slow.seconds.likely == pytest.approx(2.5)


def test_the_whole_run_is_the_sum_of_times_and_the_largest_memory() -> None:
    steps = [
        StepCost("validate", Span(1, 1, 1), 300),
        StepCost("train", Span(10, 20, 40), 900),
        StepCost("evaluate", Span(2, 2, 2), 500),
    ]
    assert total(steps) == StepCost("total", Span(13, 23, 43), 900)


counts = st.integers(0, 10**6)
epochs = st.integers(1, 50)
positive = st.floats(1e-7, 1e3)


@given(
    numbers=st.tuples(counts, counts, counts, counts, counts, counts),
    first=st.lists(epochs, min_size=1, max_size=50),
    searched=st.tuples(epochs, epochs).map(sorted),
    trained=st.tuples(epochs, epochs, epochs).map(sorted),
    num_trials=st.integers(1, 1000),
    timeout=st.integers(1, 10**7),
    speed=positive,
    streamed=st.booleans(),
)
def test_every_forecast_is_finite_and_in_order(
    numbers: tuple[int, ...],
    first: list[int],
    searched: list[int],
    trained: list[int],
    num_trials: int,
    timeout: int,
    speed: float,
    streamed: bool,
) -> None:
    names = ("new", "known", "train", "val", "test", "trial")
    counts: dict[str, Any] = dict(zip(names, numbers, strict=True))
    work = replace(
        WORK,
        **counts,
        first_trials=tuple(first),
        trial_epochs=(searched[0], searched[1]),
        epochs=(trained[0], trained[1], trained[2]),
        num_trials=num_trials,
        timeout_seconds=timeout,
        streamed=streamed,
    )
    times: dict[str, Any] = {
        name: speed for name, value in asdict(SPEEDS).items() if isinstance(value, float)
    }
    found = step_costs(work, replace(SPEEDS, **times))
    assert [each.step for each in found] == list(STEPS)
    for each in found:
        low, likely, high = each.seconds
        assert 0 <= low <= likely * (1 + 1e-9)
        assert likely <= high * (1 + 1e-9) < float("inf")
        assert 0 < each.mib < float("inf")
    assert in_words.summary(found)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (9.4, "9 s"),
        (21, "20 s"),
        (84, "85 s"),
        (88, "1:30 min"),
        (126, "2:05 min"),
        (599, "10 min"),
        (3_000, "50 min"),
        (9_000, "2.5 h"),
    ],
)
def test_durations_are_said_as_a_person_would(seconds: float, words: str) -> None:
    assert in_words.duration(seconds) == words


def test_a_range_says_its_unit_once_where_it_can() -> None:
    assert in_words.span(Span(9, 9.2, 9.4)) == "9 s"
    assert in_words.span(Span(45, 60, 92)) == "45 s to 1:30 min"
    assert in_words.span(Span(100, 110, 126)) == "1:40 to 2:05 min"


def test_the_line_names_every_step_with_its_time_memory_and_epochs() -> None:
    steps = [
        StepCost("validate", Span(9, 9, 9), 324),
        StepCost("train", Span(45, 60, 92), 1_850, (3, 5)),
    ]
    assert in_words.summary(steps) == (
        "about 55 s to 1:40 min and 1.8 GiB on this machine: validate 9 s 320 MiB, "
        "train 45 s to 1:30 min 1.8 GiB (3 to 5 epochs)"
    )
