"""python -m tests.faults.chaos: whole runs of the pipeline, hurt at random, again and again.

A round sets the project back to before one of the five steps, hurts that step once to three times,
and then lets `dvc repro` finish. Afterwards everything must be as if nothing had been: the same
weights, one version, aliases and audit log right, curves whole, nothing running, nothing locked.
What is done follows from the seed, the lane and the round, which a failure prints.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.chaos_project import Lane
from tests.faults.proxy import Fault
from tests.test_end_to_end import STEPS

_WAIT = 300.0  # for something that must happen, on a machine however busy
_TRIES = 4

# What people type after a failure is the same command; these words would mean that we failed.
_OURS = re.compile(r"internal error|Traceback \(most recent call last\)")

# Step -> how often it is chosen: those that write to MLflow more often.
_WEIGHTS = (1, 3, 4, 2, 4)


@dataclass
class Hurt:
    """What is done to one run: `kind`, when the step has run for `share` of its usual time."""

    kind: str
    share: float
    fault: Fault | None = None

    def __str__(self) -> str:
        return f"{self.kind} at {self.share:.0%}" + (f" ({self.fault})" if self.fault else "")


def draw(rng: random.Random, step: str) -> Hurt:
    """One fault that the step can meet."""
    signals = ["kill step", "kill dvc", "terminate dvc", "terminate step", "interrupt"]
    if step == "validate":  # it does not talk to MLflow
        return Hurt(rng.choice(signals), rng.random())
    kind = rng.choice([*signals, "kill step", "kill dvc", "restart server", "request", "request"])
    if kind != "request":
        return Hurt(kind, rng.random())
    fault = rng.choice(
        [
            Fault("drop", path="POST|PATCH|PUT", after=rng.randrange(25)),
            Fault("cut", rng.randrange(400), after=rng.randrange(25)),
            Fault("status", rng.choice([500, 502, 503]), times=rng.randrange(1, 4),
                  after=rng.randrange(25)),
            Fault("refuse", times=rng.randrange(1, 4), after=rng.randrange(25)),
            Fault("latency", rng.random() * 3, times=3, after=rng.randrange(25)),
        ]
    )  # fmt: skip
    return Hurt(kind, 0.0, fault)


@dataclass
class Runner:
    """Rounds in one lane, and what came of them."""

    lane: Lane
    seed: int
    number: int
    weights: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def unbroken(self) -> None:
        """One run that nothing hurts: what all others are compared with."""
        self.lane.begin("unbroken", 0)
        process = self.lane.start()
        for step in STEPS:
            self._await(lambda step=step: self._reached(step), process)  # type: ignore[misc]
            self.seconds[step] = time.monotonic()
        code = process.wait()
        assert code == 0, self._log()
        ends = [*list(self.seconds.values())[1:], time.monotonic()]
        self.seconds = {
            step: end - begin for (step, begin), end in zip(self.seconds.items(), ends, strict=True)
        }
        self.weights = self.lane.weights()
        problems = self.lane.problems(self.weights, 0)
        assert not problems, (problems, self._log()[-3000:])

    def round(self, number: int) -> None:
        """Hurt one step, finish, compare."""
        rng = random.Random(f"{self.seed} {self.number} {number}")
        done = rng.choices(range(len(STEPS)), _WEIGHTS)[0]
        step = STEPS[done]
        plan = [draw(rng, step) for _ in range(rng.choice([1, 2, 2, 3]))]
        words = "; ".join(map(str, plan))
        replay = f"--seed {self.seed} --lane {self.number} --round {number}"
        self.lane.begin(f"round-{number}", done)
        ended = False
        for hurt in plan:
            if not ended:
                ended = self._hurt(step, hurt) == 0
        problems = [] if ended or self._finish() else [f"dvc repro did not end well: {self._log()}"]
        problems = problems or self.lane.problems(self.weights, done)
        self.counts["rounds"] += 1
        print(f"{step:<9} {words}: {'; '.join(problems) or 'as unbroken'}", flush=True)
        if problems:
            self.counts["failed"] += 1
            print(f"          again: python -m tests.faults.chaos {replay}", flush=True)

    def _hurt(self, step: str, hurt: Hurt) -> int:
        """Run, hurt the step, return dvc's exit code when nothing of it runs any more."""
        if hurt.fault:
            self.lane.server.proxy.plan(hurt.fault)
        before = len(self.lane.server.proxy.done)
        process = self.lane.start()
        self._await(lambda: self._reached(step), process)
        time.sleep(hurt.share * self.seconds[step])
        happened = process.poll() is None and self._strike(step, hurt.kind, process)
        process.wait()
        self._await(lambda: not self.lane.processes())
        self.lane.server.proxy.plan()
        if happened or len(self.lane.server.proxy.done) > before:
            self.counts["faults"] += 1
            self.counts[hurt.fault.kind if hurt.fault else hurt.kind] += 1
        self._require_our_words()
        return process.returncode

    def _strike(self, step: str, kind: str, process: "subprocess.Popen[bytes]") -> bool:
        """Do it; whether there was something to do it to."""
        if kind == "restart server":
            self.lane.server.kill()
            self.lane.server.start()
            return True
        target = self.lane.stage(step) if kind.endswith("step") else process.pid
        number = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}.get(kind.split()[0])
        with suppress(ProcessLookupError):
            if number is None and kind == "interrupt":
                os.killpg(process.pid, signal.SIGINT)
            elif number is not None and target is not None:
                os.kill(target, number)
            else:
                return False
            return True
        return False

    def _finish(self) -> bool:
        """The same command again, until it ends well."""
        for _ in range(_TRIES):
            if self.lane.start().wait() == 0:
                self._require_our_words()
                return True
        return False

    def _require_our_words(self) -> None:
        if _OURS.search(self._log()):
            self.counts["failed"] += 1
            print(f"not our words: {self._log()}", flush=True)

    def _reached(self, step: str) -> bool:
        return f"Running stage '{step}'" in self._log()

    def _log(self) -> str:
        return self.lane.log.read_text(errors="replace")

    def _await(
        self, condition: Callable[[], bool], process: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        deadline = time.monotonic() + _WAIT
        while not condition() and (process is None or process.poll() is None):
            assert time.monotonic() < deadline, f"waited in vain; {self._log()}"
            time.sleep(0.05)


def run_lane(options: argparse.Namespace) -> int:
    """Rounds until the time is over, or the one that was asked for."""
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        lane = Lane(Path(folder))
        runner = Runner(lane, options.seed, options.lane)
        try:
            lane.make()
            runner.unbroken()
            number = 0 if options.round is None else options.round
            while time.monotonic() < deadline:
                runner.round(number)
                number += 1
                if options.round is not None:
                    break
        finally:
            lane.end()
            for process, _ in lane.processes():
                os.kill(process, signal.SIGKILL)
    print(json.dumps(runner.counts), flush=True)
    return 1 if runner.counts["failed"] else 0


def run_lanes(options: argparse.Namespace) -> int:
    """Lanes side by side; prints what they did and the counts of all."""
    begun, total = time.monotonic(), Counter[str]()
    words = [sys.executable, "-m", "tests.faults.chaos", "--seed", str(options.seed),
             "--minutes", str(options.minutes), "--lane"]  # fmt: skip
    lanes = [
        subprocess.Popen([*words, str(lane)], stdout=subprocess.PIPE, text=True)
        for lane in range(options.lanes)
    ]
    for number, lane in enumerate(lanes):
        assert lane.stdout is not None
        for line in lane.stdout:
            print(f"lane {number}  {line}", end="", flush=True)
            if line.startswith("{"):
                total.update(json.loads(line))
    codes = [lane.wait() for lane in lanes]
    failed = any(codes) or not total["rounds"]
    listed = ", ".join(f"{count} {name}" for name, count in sorted(total.items()))
    print(f"chaos     seed {options.seed}, {time.monotonic() - begun:.0f} s: {listed}")
    print("chaos     FAILED" if failed else "chaos     every round ended as an unbroken run does")
    return 1 if failed else 0


def main() -> int:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--lanes", type=int, default=2, help="runs side by side")
    parser.add_argument("--lane", type=int, help="only this one")
    parser.add_argument("--round", type=int, help="only this one, of --lane")
    options = parser.parse_args()
    return run_lanes(options) if options.lane is None else run_lane(options)


if __name__ == "__main__":
    sys.exit(main())
