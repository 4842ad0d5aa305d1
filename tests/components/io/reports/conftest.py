"""Evidence as evaluate and validate would have written it."""

from collections.abc import Callable

import pytest

from components.core.artifacts import ClassMetrics, Evaluation, Metrics, Split, ValidationReport

Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]


@pytest.fixture
def evidence() -> Evidence:
    """evidence(class names, confusion matrix): what evaluate and validate would have written."""

    def make(names: list[str], confusion: list[list[int]]) -> tuple[Evaluation, ValidationReport]:
        return _evaluation(names, confusion), _report(names)

    return make


def _evaluation(names: list[str], confusion: list[list[int]]) -> Evaluation:
    metrics = Metrics(
        num_images=333,
        accuracy=0.7778,
        accuracy_low=0.7305,
        accuracy_high=0.8191,
        balanced_accuracy=0.7,
        macro_f1=0.7,
        log_loss=0.5,
        ece=0.02,
        ece_uncalibrated=0.05,
        roc_auc=0.8,
        majority_class_accuracy=0.6,
    )
    per_class = [
        ClassMetrics(
            name=name, precision=0.5, recall=row[k] / max(sum(row), 1), f1=0.5, support=sum(row)
        )
        for k, (name, row) in enumerate(zip(names, confusion, strict=True))
    ]
    return Evaluation(
        metrics=metrics,
        per_class=per_class,
        confusion=confusion,
        model_digest="m" * 64,
        data_digest="d" * 64,
        test_digest="t" * 64,
        predictions_sha256="p" * 64,
    )


def _report(names: list[str]) -> ValidationReport:
    counts: dict[Split, int] = {"train": 1_000, "val": 200, "test": 300}
    return ValidationReport(
        success=True,
        data_digest="d" * 64,
        class_names=names,
        found=3_100,
        used=3_000,
        quarantined=60,
        ignored=40,
        duplicates=20,
        counts=dict.fromkeys(names, counts),
        near_duplicates=90,
        groups=2_900,
        largest_group=7,
        pinned=0,
        rules=[],
    )
