"""The metrics of one run: each point is stored once, and none is lost while the server is away."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.tracking import limits, server
from components.tracking.store import Store, is_away

if TYPE_CHECKING:
    from mlflow import entities


class MetricLog:
    """What was measured, on its way to MLflow."""

    def __init__(self, store: Store, run_id: str, known: set[str]) -> None:
        """Nothing is asked of MLflow yet.

        Args:
            store: where the run is.
            run_id: of the run.
            known: metrics that have points already.
        """
        self._store, self._run_id, self._known = store, run_id, known
        self._points: dict[str, set[tuple[int, float]]] = {}
        self._waiting: list[entities.Metric] = []
        self._by_clock: set[str] = set()
        self._away = False

    def add(self, values: Mapping[str, float], step: int, by_clock: Mapping[str, float]) -> None:
        """Log numbers, or keep them while the server is away; see `Run.metrics`."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = time.time_ns() // 1_000_000
        self._waiting += [
            Metric(limits.clean_name(name), float(f"{value:.6g}"), now, step)
            for name, value in {**values, **by_clock}.items()
            if math.isfinite(value)
        ]
        self._by_clock |= {limits.clean_name(name) for name in by_clock}
        if self._away and not server.answers(self._store.uri):
            return
        try:
            self.log_waiting()
            self._away = False
        except MlflowException as error:
            if not is_away(error):
                raise
            if not self._away:
                print("mlflow    does not answer: what is measured is kept for it", flush=True)
            self._away = True

    def log_waiting(self) -> None:
        """Log the points that wait; MLflow stores one of the same time only once."""
        points = {(m.key, m.step, m.value): m for m in reversed(self._waiting)}
        new = [metric for metric in points.values() if not self._is_known(metric)]
        for batch in limits.batches(new, limits.METRICS):
            self._store.client.log_batch(self._run_id, metrics=batch)
        for metric in new:
            self._history(metric.key).add((metric.step, metric.value))
        self._waiting.clear()

    def _is_known(self, metric: entities.Metric) -> bool:
        known = self._history(metric.key)
        if metric.key in self._by_clock:
            return any(step == metric.step for step, _ in known)
        return (metric.step, metric.value) in known

    def _history(self, key: str) -> set[tuple[int, float]]:
        """Points (step, value) of a metric: MLflow would store an equal one twice."""
        if key not in self._points:
            known = key in self._known
            history = self._store.client.get_metric_history
            points = history(self._run_id, key) if known else []
            self._points[key] = {(point.step, point.value) for point in points}
        return self._points[key]
