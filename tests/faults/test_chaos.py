"""What chaos does follows from the seed, and it does all that it can."""

import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest

from tests.faults import chaos, chaos_plan
from tests.faults.chaos_project import Lane as ChaosLane
from tests.faults.proxy import Fault, Kind, Proxy
from tests.test_end_to_end import STEPS


def plan(seed: int, step: str, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [str(chaos_plan.draw(rng, step)) for _ in range(count)]


def test_equal_seeds_hurt_alike_and_others_do_not() -> None:
    for step in STEPS:
        assert plan(1, step) == plan(1, step)
        assert plan(1, step) != plan(2, step)


KINDS = {
    "kill step", "kill dvc", "terminate dvc", "terminate step", "interrupt", "restart server",
    "drop", "cut", "status", "refuse", "latency",
}  # fmt: skip


def test_every_kind_of_fault_happens_to_steps_that_talk_to_mlflow() -> None:
    rng = random.Random(3)
    assert {chaos_plan.draw(rng, "train").kind for _ in range(300)} == KINDS


def test_validate_is_only_stopped() -> None:
    rng = random.Random(4)
    kinds = {chaos_plan.draw(rng, "validate").kind for _ in range(300)}
    assert {kind.split()[0] for kind in kinds} == {"kill", "terminate", "interrupt"}


def test_a_round_hurts_steps_in_their_order_and_none_that_has_run() -> None:
    for seed in range(100):
        done, faults = chaos_plan.draw_round(random.Random(seed))
        places = [STEPS.index(hurt.step) for hurt in faults]
        assert len(places) >= 5
        assert places == sorted(places)
        assert min(places) >= done


class Lane:
    """Looks like a lane whose `dvc repro` is one process that runs the step train."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", *, runs: bool) -> None:
        self.log, self.server, self._process, self._runs = folder / "log", self, process, runs
        self.log.write_text("Running stage 'train':\n")
        self.proxy, self.restarts = Proxy(0), 0

    def stage(self, step: str) -> int | None:
        return self._process.pid if self._runs and step == "train" else None

    def begin(self, *_: object) -> None:
        """A round: nothing to set back."""

    def processes(self) -> list[tuple[int, str]]:
        return []

    def problems(self, *_: object) -> list[str]:
        return []

    def kill(self) -> None:
        self.restarts += 1

    def start(self) -> None:
        assert self.restarts

    def wait(self) -> None:
        """The server: it answers."""


@pytest.fixture
def dvc() -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a group of its own that does nothing until somebody hurts it."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def hurt_once(lane: Lane, kind: str, dvc: "subprocess.Popen[bytes]") -> chaos.Runner:
    """Do one fault to it; a request comes as soon as one is to be hurt."""
    fault = Fault(cast(Kind, kind)) if kind in get_args(Kind) else None
    runner = chaos.Runner(cast(ChaosLane, lane), seed=1, number=0, seconds={"train": 0.0})
    runner.requests["train"] = Counter({"POST /x": 1})
    if fault and lane._runs:
        plan = lane.proxy.plan

        def plan_and_ask(*faults: Fault) -> None:
            plan(*faults)
            lane.proxy._next("POST /x")

        lane.proxy.plan = plan_and_ask  # type: ignore[method-assign]
    if not lane._runs:  # it ends before its time has come
        dvc.kill()
        dvc.wait()
    runner._hurt_once(chaos_plan.Hurt("train", kind, 0.0, fault), dvc)
    return runner


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_is_counted_when_it_happens(
    kind: str, dvc: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    lane = Lane(tmp_path, dvc, runs=True)
    counts = hurt_once(lane, kind, dvc).counts
    assert counts == {"faults": 1, kind: 1}
    stopped = kind.split()[0] in ("kill", "terminate", "interrupt")
    assert (dvc.poll() is not None) is stopped
    assert lane.restarts == (kind == "restart server")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_came_too_late_is_not_counted(
    kind: str, dvc: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    assert not hurt_once(Lane(tmp_path, dvc, runs=False), kind, dvc).counts


def test_a_traceback_is_not_our_word_and_an_error_line_is() -> None:
    assert chaos._OURS.search("tune: internal error; please report it with the lines above.")
    assert not chaos._OURS.search("error: tune: stopped by a signal; run it again.")


class Round(chaos.Runner):
    """A runner whose `dvc repro` has said and done what the lane's process did."""

    def _hurt(self, *_: object) -> bool:
        process = cast(Lane, self.lane)._process
        self._await(lambda: False, process)
        return self._ended(process)


@pytest.mark.parametrize(
    ("said", "code", "replayed"),
    [
        ("Running stage 'train':", 0, False),
        ("Running stage 'train':", 1, True),
        ("train: internal error;", 0, True),
    ],
)
def test_a_round_that_failed_says_how_to_do_it_again(
    said: str, code: int, replayed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(["sh", "-c", f"exit {code}"]) as process:
        process.wait()
        lane = Lane(tmp_path, process, runs=False)
        lane.log.write_text(said)
        Round(cast(ChaosLane, lane), seed=7, number=1).round(3)
    again = "          again: python -m tests.faults.chaos --seed 7 --lane 1 --round 3"
    assert (again in capsys.readouterr().out.splitlines()) is replayed


def test_so_does_one_that_was_waited_for_in_vain(
    dvc: "subprocess.Popen[bytes]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chaos, "_WAIT", 0.0)
    lane = Lane(tmp_path, dvc, runs=True)
    with pytest.raises(AssertionError, match="waited in vain"):
        Round(cast(ChaosLane, lane), seed=7, number=1).round(3)
    assert (
        "again: python -m tests.faults.chaos --seed 7 --lane 1 --round 3" in capsys.readouterr().out
    )


@pytest.mark.parametrize(("raised", "ours"), [("KeyboardInterrupt: ", False), ("ValueError", True)])
def test_an_interrupt_that_python_drops_is_no_failure_of_ours(raised: str, ours: bool) -> None:
    stack = f'Traceback (most recent call last):\n  File "a.py", line 1, in b\n\n{raised}\n'
    log = f"register  passed\nException ignored in: <function b at 0x7f>\n{stack}done\n"
    assert bool(chaos._OURS.search(chaos._PYTHONS.sub("", log))) is ours
    assert chaos._OURS.search(chaos._PYTHONS.sub("", stack))
