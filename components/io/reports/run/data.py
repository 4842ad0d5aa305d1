"""Sections about the data: samples, sizes, what counts as one image, what is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from components.io.reports.charts import Chart, Line

if TYPE_CHECKING:
    import pandas as pd

    from components.io.reports.run.files import Row, RunFiles

_SAMPLES, _SAMPLES_PER_CLASS = 96, 8
_PAIRS = 8  # of duplicates, and of near duplicates
_SAME_BYTES = "same bytes as "
_SIZES = 300  # points of the chart

SIZE_COLUMNS = ("width", "height", "images")


class Pair(NamedTuple):
    """Two images side by side."""

    one: str
    other: str
    words: str


class SampleRow(NamedTuple):
    """Training images of one class, evenly over its sorted paths."""

    name: str
    images: int
    paths: list[str]


def samples(files: RunFiles) -> list[SampleRow]:
    """A row for each of the first classes."""
    train = files.manifest[files.manifest["split"] == "train"]
    names = files.report.class_names[:_SAMPLES]
    limit = max(1, min(_SAMPLES_PER_CLASS, _SAMPLES // len(names)))
    rows = []
    for name in names:
        paths = train["path"][train["label"] == name].tolist()
        count = min(limit, len(paths))
        shown = [paths[k * len(paths) // count] for k in range(count)]
        rows.append(SampleRow(name, sum(files.report.counts[name].values()), shown))
    return rows


def sizes_chart(manifest: pd.DataFrame) -> Chart | None:
    """Width and height of the used images; None when all have one size."""
    used = manifest[manifest["status"] == "used"]
    sizes = Counter(zip(used["width"].tolist(), used["height"].tolist(), strict=True))
    if len(sizes) < 2:
        return None
    (width, height), count = sizes.most_common(1)[0]
    low, high = used["width"].min(), used["width"].max()
    return Chart(
        title=f"{len(sizes):,} sizes, {low:,} to {high:,} px wide; most frequent: {width:,} x "
        f"{height:,} px, {count / len(used):.0%} of {len(used):,} images.",
        lines=[Line("", sorted(size for size, _ in sizes.most_common(_SIZES)), "one", "dots")],
        x_label="width, px",
        y_label="height, px",
    )


def sizes(manifest: pd.DataFrame) -> list[tuple[int, int, int]]:
    """SIZE_COLUMNS of every size of the used images, the most frequent first."""
    used = manifest[manifest["status"] == "used"]
    counts = Counter(zip(used["width"].tolist(), used["height"].tolist(), strict=True))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(width, height, count) for (width, height), count in ordered]


def one_size(manifest: pd.DataFrame) -> str:
    """The size of all used images, in words; empty when there are several."""
    used = manifest[manifest["status"] == "used"]
    sizes = set(zip(used["width"].tolist(), used["height"].tolist(), strict=True))
    return "" if len(sizes) != 1 else "All images have {:,} x {:,} px.".format(*sizes.pop())


def duplicates(files: RunFiles) -> list[Pair]:
    """Kept and dropped copies, all of them."""
    dropped = files.manifest[files.manifest["reason"].str.startswith(_SAME_BYTES)]
    pairs = zip(dropped["path"].tolist(), dropped["reason"].tolist(), strict=True)
    return [Pair(why.removeprefix(_SAME_BYTES), path, "same bytes") for path, why in pairs]


def near_duplicates(files: RunFiles) -> list[Pair]:
    """Pairs that count as one image, the least similar first: a wrong one is among these."""
    rows = sorted(files.near_duplicates, key=lambda row: (float(row["similarity"]), row["path"]))
    return [Pair(row["path"], row["other_path"], _near(row)) for row in rows]


def _near(row: Row) -> str:
    words = f"similarity {float(row['similarity']):.2f}"
    if row["label"] != row["other_label"]:
        words += f"; labels {row['label']} and {row['other_label']}"
    return words


def shown(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Those on the page."""
    return pairs[:_PAIRS]


def not_used(manifest: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Path, status and reason of every file that is not used."""
    rows = manifest[manifest["status"] != "used"][["path", "status", "reason"]]
    return [(path, status, reason) for path, status, reason in rows.itertuples(index=False)]
