"""Pin the splits of the last green validation, so that data can grow without moving an image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from components.core.artifacts import SPLITS
from components.core.errors import ChangedInput, PipelineError
from components.io.data import manifest as manifest_file
from components.io.data.split_files import PinnedSplit, read_pinned_splits, write_pinned_splits


def pin(manifest: Path, report: Path, ledger: Path) -> str:
    """Write the split of every used image into the ledger, and say so in one sentence.

    Lines of images that are gone stay: an image that comes back is in its old split.

    Raises:
        MissingInput: validate has not run, or the ledger is absent.
        ChangedInput: the data did not pass, or the ledger was edited after validate.
        PipelineError: the data come in ready-made splits, which nothing can move.
    """
    rows = manifest_file.read(manifest, report, SPLITS)
    images = list(rows[["pixel_sha256", "split", "path"]].itertuples(index=False))
    if all(path.startswith(f"{split}/") for _, split, path in images):
        raise PipelineError(
            f"{manifest}: the images come split into train, val and test, and stay so; there is "
            "nothing to pin."
        )
    pins = read_pinned_splits(ledger)
    before = len(pins)
    for pixels, split, path in images:
        known = pins.setdefault(pixels, PinnedSplit(split, path))
        if known.split != split:
            raise ChangedInput(
                f"{ledger}: pins {path} to {known.split}, but {manifest} has it in {split}; run "
                "`dvc repro validate` first."
            )
    if len(pins) > before:
        write_pinned_splits(ledger, pins)
    sizes = Counter(known.split for known in pins.values())
    shown = ", ".join(f"{split} {sizes[split]:,}" for split in SPLITS)
    return f"{ledger}: {len(pins):,} images pinned, {len(pins) - before:,} of them new: {shown}"
