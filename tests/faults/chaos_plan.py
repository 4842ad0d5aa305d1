"""What chaos does to a run: drawn before it begins, so that it can be done again."""

import random
from dataclasses import dataclass

from tests.faults.proxy import Fault
from tests.test_end_to_end import STEPS

# Step -> how often a round begins there, and how often it is hurt: those that write to MLflow more.
_BEGINS = (1, 2, 2, 2, 2)
_WEIGHTS = (1, 3, 4, 2, 4)

# Faults of a round. One costs the start of `dvc repro` and half a step; what a round costs besides,
# a run to its end, is shared by all of them.
_FEWEST, _MOST = 5, 8


@dataclass(frozen=True)
class Hurt:
    """What is done to one step: `kind`, after a `share` of its usual time, or of its requests."""

    step: str
    kind: str
    share: float
    fault: Fault | None = None

    def __str__(self) -> str:
        if self.fault is None:
            return f"{self.step}: {self.kind} at {self.share:.0%}"
        what = f"{self.fault.times} x {self.kind} {self.fault.amount:.3g}"
        return f"{self.step}: {what} at {self.share:.0%} of its requests"


# Of a step's time: behind it, Python itself has started, on a busy machine too.
_STARTED = 0.1


def draw(rng: random.Random, step: str) -> Hurt:
    """One fault that the step can meet."""
    share = rng.random()
    signals = ["kill step", "kill dvc", "terminate dvc", "terminate step", "interrupt"]
    others = ["kill step", "kill dvc", "restart server", "request", "request"]
    # validate does not talk to MLflow.
    kind = rng.choice(signals if step == "validate" else [*signals, *others])
    if kind == "interrupt":  # Python has its own words for one in its first moments
        share = _STARTED + (1 - _STARTED) * share
    if kind != "request":
        return Hurt(step, kind, share)
    fault = rng.choice(
        [
            Fault("drop", path="POST|PATCH|PUT"),
            Fault("cut", rng.randrange(150)),  # every answer of MLflow is longer
            Fault("status", rng.choice([500, 502, 503]), times=rng.randrange(1, 4)),
            Fault("refuse", times=rng.randrange(1, 4)),
            Fault("latency", rng.random() * 2, times=2),
        ]
    )
    return Hurt(step, fault.kind, share, fault)


def draw_round(rng: random.Random) -> tuple[int, list[Hurt]]:
    """Number of steps that have run before it, and what is done to the others on their way."""
    done = rng.choices(range(len(STEPS)), _BEGINS)[0]
    count = rng.randint(_FEWEST, _MOST)
    places = sorted(rng.choices(range(done, len(STEPS)), _WEIGHTS[done:], k=count))
    return done, [draw(rng, STEPS[place]) for place in places]
