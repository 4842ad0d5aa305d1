"""The description of a model version in MLflow: the page on which people decide."""

from components.core.artifacts import ValidationReport
from components.core.phrases import short_digest
from components.io.reports.summary import CheckRow, DecisionSummary

# MLflow's database column holds 5,000.
LIMIT = 4500

_MESSAGE, _SENTENCE = 240, 300  # characters at most
_FINDINGS = 6


def describe_version(
    summary: DecisionSummary,
    report: ValidationReport,
    *,
    uri: str,
    lineage: dict[str, str],
    run_route: str,
) -> str:
    """Markdown of at most 4,500 characters: verdict, checks, what to do, weak spots, data, origin.

    Args:
        summary: of a registered version.
        report: of its data.
        uri: that MLflow loads the version by, models:/<name>/<version>.
        lineage: tag -> value, e.g. git revision; shown as it is.
        run_route: the run's page inside the MLflow UI.
    """
    table = ["| check | value | threshold | status |", "|---|---|---|---|"]
    parts = [
        summary.headline,
        "\n".join(f"- {_plain(text, _MESSAGE)}" for text in summary.findings[:_FINDINGS]),
        "\n".join([*table, *map(_row, summary.checks)]),
        summary.next_step.text,
        "\n".join(f"- `{command}`" for command in summary.next_step.commands),
        _plain(summary.weak_spots, _SENTENCE),
        _plain(summary.comparison, _SENTENCE),
        f"{_data(report)} {_plain(summary.data, _SENTENCE)}",
        _origin(lineage, run_route),
        f'Use: `mlflow.pyfunc.load_model("{uri}").predict(["<image file in base64>"])`',
    ]
    return "\n\n".join(part for part in parts if part)[:LIMIT]


def _row(check: CheckRow) -> str:
    cells = (check.name, check.value, check.threshold, check.status)
    # MLflow's page draws tables without any space between the columns.
    return f"| {' &nbsp; | '.join(cells)} |"


def _data(report: ValidationReport) -> str:
    splits = {s: sum(c.get(s, 0) for c in report.counts.values()) for s in ("train", "val", "test")}
    counts = ", ".join(f"{split} {count:,}" for split, count in splits.items())
    return (
        f"Data: {report.used:,} of {report.found:,} files used, {len(report.class_names):,} "
        f"classes ({counts}); {report.quarantined:,} quarantined."
    )


def _origin(lineage: dict[str, str], run_route: str) -> str:
    digests = ", ".join(f"{name} `{_short(value)}`" for name, value in lineage.items())
    # The page lies with the run, from evaluate on.
    route, mark, query = run_route.partition("?")
    report = f"{route}/artifacts/report/index.html{mark}{query}"
    return f"Made from: {digests}. [Training run]({run_route}), [its report]({report})"


def _short(digest: str) -> str:
    """Twelve digits, and whether files differed from the commit."""
    return short_digest(digest) + ("-dirty" if digest.endswith("-dirty") else "")


# What Markdown would take for a mark. MLflow's converter has no backslash for & and <.
_ESCAPES = {c: f"\\{c}" for c in "\\`*_{}[]>#|~"} | {"&": "&amp;", "<": "&lt;"}


def _plain(text: str, limit: int) -> str:
    """One line of at most `limit` characters that is shown as it is: class names hold anything."""
    line = [_ESCAPES.get(character, character) for character in " ".join(text.split())]
    if len("".join(line)) <= limit:
        return "".join(line)
    while len("".join(line)) > limit - 3:
        line.pop()
    return f"{''.join(line)}..."
