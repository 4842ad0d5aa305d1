"""Which pruning rule keeps the best trial, when trials differ in length? Tried on unpruned trials.

Run: python -m bench.tuning [--trials 16] [--out bench/tuning.csv]   (10 minutes on 2 cores)
     python -m bench.tuning --replay bench/tuning.csv                (at once)

Trials with random learning rate and epochs run to their end on the sample, with the settings of
params.yaml. Their curves are then replayed through the median rule in four versions, in many
random orders: comparing at equal epochs, at equal shares of the own schedule (each quarter, or the
third only), and only among trials of the same length. Reported per version: how often the best
trial of an order was pruned, the median loss of what was chosen instead, and the share of epochs
saved.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One unpruned trial: least val loss so far after each epoch."""

    learning_rate: float
    curve: tuple[float, ...]

    @property
    def epochs(self) -> int:
        """Length of its schedule."""
        return len(self.curve)

    @property
    def final(self) -> float:
        """What the study minimizes."""
        return self.curve[-1]


# Given the trial, its finished epochs and another trial: the other's comparable value, if any.
Rule = Callable[[Trial, int, Trial], float | None]


def equal_epochs(_trial: Trial, epoch: int, other: Trial) -> float | None:
    """Optuna's median rule as it stands: step = epoch."""
    return other.curve[epoch - 1] if epoch <= other.epochs else None


def equal_share(trial: Trial, epoch: int, other: Trial) -> float | None:
    """Step = quarter of the own schedule, reported at the end of the epoch that reaches it."""
    quarter = 4 * epoch // trial.epochs
    if quarter == 4 * (epoch - 1) // trial.epochs:
        return None
    reached = next(e for e in range(1, other.epochs + 1) if 4 * e // other.epochs >= quarter)
    return other.curve[reached - 1]


def third_quarter(trial: Trial, epoch: int, other: Trial) -> float | None:
    """The same, but nothing before three quarters of the schedule."""
    return None if 4 * epoch // trial.epochs < 3 else equal_share(trial, epoch, other)


def same_length(trial: Trial, epoch: int, other: Trial) -> float | None:
    """Step = epoch, but only trials of the same length are compared."""
    return other.curve[epoch - 1] if other.epochs == trial.epochs else None


RULES: dict[str, Rule] = {
    "equal epochs": equal_epochs,
    "equal share of schedule": equal_share,
    "three quarters only": third_quarter,
    "same length only": same_length,
}


def replay(trials: list[Trial], rule: Rule, start: int) -> tuple[bool, float, float]:
    """Run trials in order under a rule.

    Args:
        trials: in the order of the study.
        rule: which values are comparable.
        start: complete trials before the first pruning.

    Returns:
        Whether the best trial was lost, the loss of the winner, the share of epochs saved.
    """
    complete: list[Trial] = []
    spent = 0
    for trial in trials:
        pruned = False
        for epoch in range(1, trial.epochs + 1):
            spent += 1
            values = [v for o in complete if (v := rule(trial, epoch, o)) is not None]
            worse = bool(values) and trial.curve[epoch - 1] > statistics.median(values)
            if epoch < trial.epochs and len(complete) >= start and worse:
                pruned = True
                break
        if not pruned:
            complete.append(trial)
    best = min(trials, key=lambda t: t.final)
    winner = min(complete, key=lambda t: t.final)
    return winner is not best, winner.final, 1 - spent / sum(t.epochs for t in trials)


def report(trials: list[Trial], orders: int, size: int) -> None:
    """Replay every rule on the same random orders of `size` trials and print a table."""
    print(f"{len(trials)} trials, {orders} random studies of {size}")
    print(f"{'rule':<26}{'start':>6}{'best lost':>11}{'median loss':>13}{'epochs saved':>14}")
    for start in (1, 2):
        for name, rule in RULES.items():
            rng = random.Random(0)  # noqa: S311 - not for secrets
            found = [replay(rng.sample(trials, size), rule, start) for _ in range(orders)]
            lost = statistics.mean(f[0] for f in found)
            loss = statistics.median(f[1] for f in found)
            saved = statistics.mean(f[2] for f in found)
            print(f"{name:<26}{start:>6}{lost:>11.1%}{loss:>13.4f}{saved:>14.1%}")


def run_trials(count: int, out: Path) -> None:
    """Train `count` random settings to their end; write each curve as it comes."""
    from components.io import process

    process.configure()
    from dataclasses import replace

    from components import tune
    from components.core.training.loop import fit
    from components.io import models, params
    from components.io.data.dataset import DataPaths, open_dataset

    settings = params.load(Path("params.yaml"), tune.Params)
    data = open_dataset(DataPaths(), settings.data, settings.model.image_size, ("train", "val"))
    context = tune.prepare(data, settings)
    low, high = context.space.learning_rate
    rng = random.Random(1)  # noqa: S311 - not for secrets
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        for number in range(count):
            rate = low * (high / low) ** rng.random()
            epochs = (2, 3, 4, 6, 8)[number % 5]
            config = replace(context.config, learning_rate=rate, epochs=epochs)
            network, _ = models.create_model(context.model, context.num_classes, config.seed)
            least: list[float] = []
            for epoch in fit(network, context.train, context.val, config):
                least.append(min([epoch.val_loss, *least]))
            writer.writerow([f"{rate:.6g}", *(f"{v:.5f}" for v in least)])
            file.flush()
            print(f"trial {number}: learning rate {rate:.2g}, {epochs} epochs, {least[-1]:.4f}")


def read(path: Path) -> list[Trial]:
    """Trials of a CSV: learning rate, then one value an epoch."""
    with path.open(newline="") as file:
        return [Trial(float(r[0]), tuple(map(float, r[1:]))) for r in csv.reader(file)]


def main() -> None:
    """Train and replay, or replay only."""
    parser = argparse.ArgumentParser(description="Pruning rules, replayed.")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("bench/tuning.csv"))
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--study", type=int, default=8, help="trials in each replayed study")
    options = parser.parse_args()
    if options.replay is None:
        run_trials(options.trials, options.out)
    report(read(options.replay or options.out), options.orders, options.study)


if __name__ == "__main__":
    main()
