"""Experiment tracking and the model registry: the only place that knows MLflow.

server        where MLflow is, and whether it answers: cheap, imports no MLflow
store         the open store: client, experiment, errors in our words
runs          one run per pipeline execution, found again by its key
lineage       git revision and DVC hash
served_model  the code that runs inside a registered model
package       a model folder wrapped as an MLflow model
verification  whether a stored package is, and answers like, the model folder
version_page  the text that people decide by
registry      versions, their tags and aliases
"""

from components.tracking.runs import Run, join_run, open_run

__all__ = ["Run", "join_run", "open_run"]
