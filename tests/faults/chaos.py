"""python -m tests.faults.chaos: whole runs of the pipeline, hurt at random, again and again.

A round sets the project back to before one of the five steps, hurts the run from there several
times on its way, starting `dvc repro` again whenever that ends it, and lets the last one finish.
Afterwards everything must be as if nothing had been: the same weights, one version, aliases and
audit log right, curves whole, nothing running, nothing locked. What is done follows from the seed,
the lane and the round, which a failure prints.
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
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.chaos_plan import Hurt, draw_round
from tests.faults.chaos_project import Lane
from tests.faults.proxy import Fault
from tests.test_end_to_end import STEPS

_WAIT = 900.0  # for something that must happen, on a machine however busy
_TRIES = 4

# What people type after a failure is the same command; these words would mean that we failed.
_OURS = re.compile(r"internal error|Traceback \(most recent call last\)")

# Python drops what is raised within the callback of a weak reference, Ctrl-C too, and says so.
_PYTHONS = re.compile(r"Exception ignored in: .*\nTraceback .*\n(?: .*\n|\s*\n)*KeyboardInterrupt")


@dataclass
class Runner:
    """Rounds in one lane, and what came of them.

    Attributes:
        weights: digest of those that an unbroken run trains.
        seconds: step -> how long it takes, unbroken.
        requests: step -> what it asks of MLflow, unbroken.
    """

    lane: Lane
    seed: int
    number: int
    weights: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    requests: dict[str, Counter[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _begun: dict[str, float] = field(default_factory=dict)

    def unbroken(self) -> None:
        """One run that nothing hurts: what all others are compared with."""
        self.lane.begin("unbroken", 0)
        proxy, process, marks = self.lane.server.proxy, self.lane.start(), []
        for step in (*STEPS, "its end"):
            self._await_step(step, process)
            marks.append((time.monotonic(), proxy.seen.copy()))
        for step, (begun, before), (ended, after) in zip(STEPS, marks, marks[1:], strict=False):
            self.seconds[step], self.requests[step] = ended - begun, after - before
        assert process.wait() == 0, self._log()
        self.weights = self.lane.weights()
        problems = self.lane.problems(self.weights, 0)
        assert not problems, (problems, self._log()[-3000:])
        self.lane.keep()
        shown = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in self.seconds.items())
        print(f"unbroken  {shown}", flush=True)

    def round(self, number: int) -> None:
        """Hurt a run on its way, let it finish, compare; say how to do a failure again."""
        failed, whole = self.counts["failed"], False
        try:
            self._round(number)
            whole = True
        finally:
            if not whole or self.counts["failed"] > failed:
                replay = f"--seed {self.seed} --lane {self.number} --round {number}"
                print(f"          again: python -m tests.faults.chaos {replay}", flush=True)

    def _round(self, number: int) -> None:
        done, plan = draw_round(random.Random(f"{self.seed} {self.number} {number}"))
        self.lane.begin(f"round-{number}", done)
        begun, before = time.monotonic(), self.counts["faults"]
        ended = self._hurt(plan)
        problems = [] if ended else [f"dvc repro did not end well: {self._log()}"]
        problems = problems or self.lane.problems(self.weights, done)
        self.counts["rounds"] += 1
        print(
            f"round {number}: {self.counts['faults'] - before} faults in "
            f"{time.monotonic() - begun:.0f} s ({'; '.join(map(str, plan))}): "
            f"{'; '.join(problems) or 'as unbroken'}",
            flush=True,
        )
        if problems:
            self.counts["failed"] += 1

    def _hurt(self, plan: list[Hurt]) -> bool:
        """Run, hurt one after the other, run to the end; whether it ended well."""
        process = self._start()
        for hurt in [*plan, *[None] * _TRIES]:
            if hurt is None:
                process.wait()
            else:
                self._hurt_once(hurt, process)
            if process.poll() is not None:
                if self._ended(process):
                    return True
                process = self._start()
        process.kill()
        process.wait()
        return False

    def _hurt_once(self, hurt: Hurt, process: "subprocess.Popen[bytes]") -> None:
        """Do it when its time has come, to whatever step runs then; count it if it happened."""
        self._await_step(hurt.step, process)
        step, done = self._running(), self.lane.server.proxy.done
        if hurt.fault:
            before = len(done)
            self.lane.server.proxy.plan(self._placed(hurt.fault, hurt.share, hurt.step))
            self._await(lambda: len(done) > before or self._running() != step, process)
            happened = len(done) > before
            if not happened:
                self.lane.server.proxy.plan()
        else:
            due = self._begun.get(step, 0.0) + hurt.share * self.seconds[hurt.step]
            self._await(lambda: time.monotonic() >= due or self._running() != step, process)
            happened = process.poll() is None and self._strike(hurt.kind, process)
            if hurt.kind != "restart server":  # the others end the step, or come too late for it
                self._await(lambda: self._running() != step, process)
        if happened:
            self.counts["faults"] += 1
            self.counts[hurt.kind] += 1

    def _placed(self, fault: Fault, share: float, step: str) -> Fault:
        """The fault behind a share of the step's requests that fit it."""
        fitting = (n for name, n in self.requests[step].items() if re.search(fault.path, name))
        return replace(fault, after=int(share * sum(fitting)))

    def _strike(self, kind: str, process: "subprocess.Popen[bytes]") -> bool:
        """Do it; whether there was something to do it to."""
        if kind == "restart server":
            self.lane.server.kill()
            self.lane.server.start()
            self.lane.server.wait()
            return True
        target = self.lane.stage(self._running()) if kind.endswith("step") else process.pid
        number = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}.get(kind.split()[0])
        with suppress(ProcessLookupError):
            if number is None:
                os.killpg(process.pid, signal.SIGINT)
            elif target is not None:
                os.kill(target, number)
            else:
                return False
            return True
        return False

    def _start(self) -> "subprocess.Popen[bytes]":
        self._begun.clear()
        return self.lane.start()

    def _ended(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether it ended well, when nothing of it runs any more."""
        self._await(lambda: not self.lane.processes())
        if _OURS.search(_PYTHONS.sub("", self._log())):
            self.counts["failed"] += 1
            print(f"not our words: {self._log()}", flush=True)
        return process.returncode == 0

    def _running(self) -> str:
        """The step that was started last."""
        step = ["", *re.findall(r"Running stage '(\w+)'", self._log())][-1]
        self._begun.setdefault(step, time.monotonic())
        return str(step)

    def _await_step(self, step: str, process: "subprocess.Popen[bytes]") -> None:
        """Until it, or a later one, was started, or the run has ended."""
        order = ["", *STEPS, step]
        self._await(lambda: order.index(self._running()) >= order.index(step), process)

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
            number = options.round or 0
            while True:  # once at least, however long everything before has taken
                runner.round(number)
                number += 1
                if options.round is not None or time.monotonic() > deadline:
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
