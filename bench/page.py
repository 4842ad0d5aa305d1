"""Writes docs/performance.md and its figure from what was measured.

Run: python -m bench.page

Reads docs/performance/: suite.json (bench.suite), growth.json (bench.growth), gpu.json (bench.gpu),
and notes.json, which people write: for a target's key a note, and what was measured elsewhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.processes import ROOT
from bench.targets import Line, lines
from components.io import files
from components.io.reports.plots import canvas

FOLDER = ROOT / "docs/performance"

# Side -> how the page calls it, and its color.
NAMES = {
    "plain": ("plain script, fp32", canvas.GRAY),
    "timm": ("timm", canvas.ORANGE),
    "ours": ("this project", canvas.BLUE),
    "limit": ("limit in memory", canvas.GREEN),
}
_FIGURES = ("rate", "seconds", "first_batch", "after_last_step", "peak_mib")

_HEAD = """# Performance

Written by `python -m bench.page` from one run of `make bench-peers` and from `python -m
bench.growth`, whose figures are in docs/performance. Every round runs each side once, in turn, as a
whole process; ratios are medians of the rounds' ratios, with the range in parentheses. Ratios
travel between machines; seconds do not.
"""

_HOW = """Training images per second: between the steps of an epoch, after four steps. First batch:
launch until it enters the network. After the last step: scoring val, calibration, model, MLflow,
figures. Peak memory: proportional set size of the process and its children, looked at every second.
Ours hashes and decodes the images inside the measured process, like the others; the limit computes
on one batch that stays in memory, with our precision, layout, allocator and kernels. {peer}
"""
_PEERS = {
    "": "timm was not measured in this run.",
    "parts": "timm: its loader, network, optimizer, schedule and checkpoints in a loop as its "
    "train.py has it (`bench/sides/timm_parts.py`); the package does not carry train.py.",
    "train.py": "timm: its train.py.",
}
# Before the first run.
_NOTHING: Mapping[str, Any] = {
    "settings": {"precision": "bf16", "timm": ""},
    "training": {},
    "validation": [],
    "commands": {},
    "pipeline": {},
}


def write(folder: Path, page: Path) -> None:
    """Write the page, and the figure beside it.

    Args:
        folder: of the measurements.
        page: Markdown to write; the figure has its name with .png.
    """
    suite, growth, gpu, notes = (
        json.loads(path.read_text()) if path.exists() else {}
        for path in (folder / f"{name}.json" for name in ("suite", "growth", "gpu", "notes"))
    )
    targets = _targets(lines(suite or _NOTHING, growth, notes))
    parts = [_HEAD, targets]
    if suite:
        figure = page.with_suffix(".png")
        draw(suite, figure)
        shown = f"![Images per second and seconds of each side]({figure.name})\n"
        parts = [_HEAD, _machine(suite), targets, shown, _sides(suite)]
    files.write_text(page, "\n".join([*parts, _growth(growth), _gpu(gpu)]))


def _machine(suite: Mapping[str, Any]) -> str:
    work, facts = suite["settings"]["work"], suite["machine"]
    said = "; ".join(f"{name}: {text}" for name, text in facts.items())
    return (
        f"Machine: {said}. Work: ResNet-18, {work['train']} training and {work['val']} val images, "
        f"{work['size']} px, batch {work['batch']}, {work['epochs']} epochs, "
        f"{suite['settings']['precision']}, {suite['settings']['rounds']} rounds.\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def _targets(found: Sequence[Line]) -> str:
    rows = [[line.what, line.target, line.measured, line.verdict, line.note] for line in found]
    missed = sum(line.passed is False for line in found)
    passed = sum(line.passed is True for line in found)
    said = f"{passed} targets met, {missed} missed, {len(found) - passed - missed} not measured.\n"
    head = ("what", "target", "measured", "", "where it is missed: what was tried")
    return f"## Targets\n\n{said}\n{_table(head, rows)}"


def _medians(suite: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Side and the median of each figure, slowest sides first."""
    for side in NAMES:
        if runs := suite["training"].get(side):
            yield side, {name: statistics.median(run[name] for run in runs) for name in _FIGURES}


def _sides(suite: Mapping[str, Any]) -> str:
    head = ("side", "images/s", "process, s", "first batch, s", "after the last step, s", "peak")
    rows = [
        [
            NAMES[side][0],
            f"{found['rate']:.1f}",
            *(f"{found[name]:.1f}" for name in _FIGURES[1:4]),
            f"{found['peak_mib'] / 1024:.2f} GiB",
        ]
        for side, found in _medians(suite)
    ]
    how = _HOW.format(peer=_PEERS[suite["settings"]["timm"]])
    seconds = {name: statistics.median(all_) for name, all_ in suite["commands"].items() if all_}
    commands = ", ".join(f"`{name}` {value:.2f} s" for name, value in seconds.items())
    pipeline = suite["pipeline"]
    whole = (
        f"`dvc repro` on the sample from nothing: {pipeline['seconds']:.0f} s, of which "
        f"{pipeline['training']:.0f} s train and {pipeline['decoding']:.0f} s decode; evaluate's "
        f"predictions count as neither. Commands: {commands}.\n"
        if pipeline
        else ""
    )
    return f"## Medians\n\n{_table(head, rows)}\n{how}\n{whole}"


def _growth(growth: Mapping[str, Any]) -> str:
    head = ("images", "validate, s", "MiB", "train, s", "MiB")
    rows = [
        [
            f"{each['images']:,}",
            *(
                text
                for step in ("validate", "train")
                for text in (f"{each[step]['seconds']:.1f}", f"{each[step]['peak_mib']:.0f}")
            ),
        ]
        for each in sorted(growth.get("sets", []), key=lambda found: int(found["images"]))
        if "train" in each
    ]
    said = (
        "Generated JPEG files of 96 px; one epoch at 32 px. Memory without mapped files. Load of "
        f"the machine before: {growth['machine']['load before']}.\n"
        if rows
        else "Not measured.\n"
    )
    return f"## Growth\n\n{said}\n{_table(head, rows) if rows else ''}"


def _gpu(gpu: Mapping[str, Any]) -> str:
    if gpu.get("device") != "cuda":
        return (
            "## On a GPU\n\nNot measured on GPU. `python -m bench.gpu` measures there: images per "
            "second, time to the first batch, memory by batch size, latency of one image.\n"
        )
    rows = [
        [str(row["batch"]), f"{row['peak_mib'] / 1024:.2f} GiB", row["claim"], f"{row['rate']:.0f}"]
        for row in gpu["batches"]
    ]
    head = ("batch", "peak memory", "recommended for", "images/s")
    return f"## On a GPU\n\n{gpu['machine']['gpu']}: {gpu['said']}\n\n{_table(head, rows)}"


def draw(suite: Mapping[str, Any], path: Path) -> None:
    """Images per second of every round, and where the seconds of a process go."""
    found = list(_medians(suite))
    rates = {side: figures["rate"] for side, figures in found}
    compared = f"{rates['ours'] / rates['plain']:.1f} times the plain script's images per second"
    title = f"{compared}; {rates['ours'] / rates['limit']:.0%} of the limit in memory"
    with canvas.saved_figure(path, 8.0, 2.8, title) as figure:
        speed, time = figure.subplots(1, 2)
        for place, (side, medians) in enumerate(reversed(found)):
            color = NAMES[side][1]
            runs = [run["rate"] for run in suite["training"][side]]
            speed.barh(place, medians["rate"], color=color, alpha=0.35)
            speed.plot(runs, [place] * len(runs), "o", color=color, markersize=4)
            start, end = medians["first_batch"], medians["after_last_step"]
            middle = medians["seconds"] - start - end
            for left, width, shade in (
                (0, start, 0.35), (start, middle, 0.9), (start + middle, end, 0.35)
            ):  # fmt: skip
                time.barh(place, width, left=left, color=color, alpha=shade)
        names = [NAMES[side][0] for side, _ in reversed(found)]
        speed.set_yticks(range(len(names)), names)
        time.set_yticks(range(len(names)), [""] * len(names))
        speed.set_xlabel("training images/s; a dot a round")
        time.set_xlabel("seconds: before the first batch, steps, after the last")


def main() -> None:
    """Write docs/performance.md."""
    parser = argparse.ArgumentParser(description="docs/performance.md.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md")
    options = parser.parse_args()
    write(options.folder, options.page)


if __name__ == "__main__":
    main()
