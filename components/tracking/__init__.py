"""MLflow runs; with `registry` the only place that knows MLflow.

server   where MLflow is, and whether it answers: cheap, imports no MLflow
database its SQLite file, made whole or not at all
store    the open store: client, experiment, failures as errors of the pipeline
runs     one run per pipeline execution, found again by its key
deferred a run that is opened beside other work
run_table which columns of the runs are shown
shown    what people see of a run
unused_packages  parts of MLflow that are not imported
lineage  git revision, DVC hash, and who acts
"""

from components.tracking.deferred import DeferredRun, opened_aside
from components.tracking.runs import Run, join_run, open_run

__all__ = ["DeferredRun", "Run", "join_run", "open_run", "opened_aside"]
