import csv
import json
import re
from pathlib import Path

import pytest

from components.core.artifacts import ClassMetrics, Evaluation, Metrics
from components.io import files
from components.io.reports.run.page import PAGE, run_page, write_tables
from pipeline.kubeflow import run_pages
from tests import factories
from tests.components.io.reports.conftest import run_files


class Sink:
    """Keeps what it is given, as kfp's artifacts do."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.categories: list[str] = []
        self.matrix: list[list[int]] = []
        self.curve: list[list[float]] = []

    def log_metric(self, metric: str, value: float) -> None:
        self.numbers[metric] = value

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        self.categories, self.matrix = categories, matrix

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        self.curve = [fpr, tpr, threshold]


def write_evaluation(folder: Path, classes: int) -> None:
    metrics = Metrics(
        num_images=classes,
        accuracy=1,
        accuracy_low=0,
        accuracy_high=1,
        balanced_accuracy=1,
        macro_f1=1,
        log_loss=0,
        ece=0,
        ece_uncalibrated=0,
        roc_auc=None,
        majority_class_accuracy=0.5,
    )
    names = [f"class {k}" for k in range(classes)]
    evaluation = Evaluation(
        metrics=metrics,
        per_class=[
            ClassMetrics(name=name, precision=1, recall=1, f1=1, support=1) for name in names
        ],
        confusion=[[int(i == k) for k in range(classes)] for i in range(classes)],
        model_digest="m",
        data_digest="d",
        test_digest="t",
        predictions_sha256="p",
    )
    files.write_artifact(folder / "evaluation.json", evaluation)


def write_curve(folder: Path, thresholds: list[str]) -> Path:
    table = folder / "plots/roc.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("threshold", "false_positive_rate", "true_positive_rate"))
        last = len(thresholds) - 1
        writer.writerows((t, k / last, (k / last) ** 0.5) for k, t in enumerate(thresholds))
    return table


@pytest.mark.parametrize(("classes", "shown"), [(25, 25), (26, 0)])
def test_up_to_25_classes_have_a_confusion_matrix(classes: int, shown: int, tmp_path: Path) -> None:
    write_evaluation(tmp_path, classes)
    sink = Sink()
    run_pages.log_curves(tmp_path, sink)
    assert len(sink.categories) == len(sink.matrix) == shown
    assert sink.curve == []


def test_the_curve_is_finite_and_thin_and_keeps_its_ends(tmp_path: Path) -> None:
    write_evaluation(tmp_path, 2)
    write_curve(tmp_path, ["inf", *(str(1 - k / 999) for k in range(1000))])
    sink = Sink()
    run_pages.log_curves(tmp_path, sink)
    fpr, tpr, threshold = sink.curve
    assert len(fpr) == len(tpr) == len(threshold) == 100
    assert (threshold[0], threshold[-1]) == (1.0, 0.0)
    assert (fpr[-1], tpr[-1]) == (1.0, 1.0)
    assert fpr == sorted(set(fpr))


def test_a_short_curve_stays_whole(tmp_path: Path) -> None:
    table = write_curve(tmp_path, ["0.9", "0.5", "0.1"])
    assert run_pages.thin_curve(table) == [(0.0, 0.0, 0.9), (0.5, 0.5**0.5, 0.5), (1.0, 1.0, 0.1)]


def test_numbers_that_are_none_or_infinite_stay_out_of_the_metrics(tmp_path: Path) -> None:
    metrics = {"accuracy": 0.75, "num_images": 4, "roc_auc": None, "log_loss": float("inf")}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    sink = Sink()
    summary, page = tmp_path / "out/summary", tmp_path / "out/page"
    run_pages.write_page("evaluate", tmp_path, sink, str(summary), str(page))
    assert sink.numbers == {"accuracy": 0.75, "num_images": 4.0}
    assert "| roc_auc | - |" in summary.read_text()


def test_the_page_carries_the_figures_and_escapes_markup(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"<script>": "a|b\nc"}))
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/confusion.png").write_bytes(b"figure")
    summary, page = tmp_path / "summary.md", tmp_path / "page.html"
    run_pages.write_page("evaluate", tmp_path, Sink(), str(summary), str(page))
    assert "<script>" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()
    assert 'src="data:image/png;base64,ZmlndXJl"' in page.read_text()
    assert "| <script> | a\\|b c |" in summary.read_text()


def test_the_copy_of_the_run_page_says_where_its_tables_are_instead_of_links(
    tmp_path: Path,
) -> None:
    found = factories.predictions_of([[90, 22], [3, 60]], ["cat", "dog"])
    run = run_files(predictions=found, evaluation=factories.evaluation(found))
    report, step = tmp_path / "report", tmp_path / "evaluate"
    for folder in (report, step):
        folder.mkdir()
    write_tables(report, run)
    original = run_page(run, factories.image_params(), {"MLflow run": "https://mlflow/#/runs/1"})
    (report / PAGE).write_text(original, encoding="utf-8")
    (step / "metrics.json").write_text("{}")
    assert 'href="errors.csv"' in original
    assert 'href="#mistakes"' in original
    page = tmp_path / "page.html"
    run_pages.write_page("evaluate", step, Sink(), str(tmp_path / "summary.md"), str(page))
    copy = page.read_text(encoding="utf-8")
    targets = re.findall(r'href="([^"]+)"', copy)
    assert targets == ["https://mlflow/#/runs/1"]
    assert "<code>errors.csv</code> (in the MLflow run, artifacts, folder report)" in copy
    assert copy.count("popovertarget=") == original.count("popovertarget=") > 0


def test_the_copy_of_the_page_of_validate_says_so_too(tmp_path: Path) -> None:
    link = 'all are in <a href="near_duplicates.csv">near_duplicates.csv</a>.'
    (tmp_path / "report.html").write_text(link)
    files.write_artifact(tmp_path / "report.json", factories.validation_report())
    page = tmp_path / "page.html"
    run_pages.write_page("validate", tmp_path, Sink(), str(tmp_path / "summary.md"), str(page))
    where = "(on the volume of the run, folder artifacts/validate)"
    assert page.read_text() == f"all are in <code>near_duplicates.csv</code> {where}."
