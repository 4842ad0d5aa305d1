"""Versions in the model registry: one per model folder, with verdict, description and aliases.

Everything may run again at any point: a version is found by the digest of its folder, a tag of the
very call that creates it, and whatever is missing behind it is done again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import Decision, Evaluation, ModelCard, ValidationReport
from components.core.errors import PipelineError
from components.io.tracking import package, version_page
from components.io.tracking.runs import Run
from components.io.tracking.verification import verify

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from components.io.tracking.store import Store

# The newest version that was judged; and the one in use.
CANDIDATE, CHAMPION = "candidate", "champion"

_ABOUT = (
    "Image classifier. `champion` is the version in use, `candidate` the one judged last; each "
    "version's description says how it was judged."
)


@dataclass(frozen=True)
class Submission:
    """A model with its evidence and the verdict on it.

    Attributes:
        name: of the registered model.
        folder: weights and card.
        digest: of `folder`.
    """

    name: str
    folder: Path
    digest: str
    card: ModelCard
    evaluation: Evaluation
    report: ValidationReport
    decision: Decision


@dataclass(frozen=True)
class Outcome:
    """What the registry holds now.

    Attributes:
        version: of this model.
        created: whether it is new.
        champion: the version in use, if there is one.
    """

    version: str
    created: bool
    champion: str | None


def register(run: Run, submission: Submission) -> Outcome:
    """Make sure that the model is a version, judged as decided; move `champion` on `promote` only.

    A version that is there already is judged anew. No alias moves before the stored package has
    been read back and has answered like the model folder.
    """
    client, name = run.store.client, submission.name
    found = _find(run.store, submission)
    version = found or _create(run, submission)
    number = str(version.version)
    if version.tags.get("verified") != submission.digest:
        verify(run.store, _model_id(version), submission.folder, submission.digest)
        client.set_model_version_tag(name, number, "verified", submission.digest)
    _judge(run, version, submission)
    aliases = _aliases(client, name)
    if aliases.get(CANDIDATE) != number:
        client.set_registered_model_alias(name, CANDIDATE, number)
    if submission.decision.verdict == "promote" and aliases.get(CHAMPION) != number:
        aliases[CHAMPION] = _promote(client, name, number)
    return Outcome(number, created=found is None, champion=aliases.get(CHAMPION))


def _find(store: Store, submission: Submission) -> ModelVersion | None:
    """The newest version of this model folder whose files are still there."""
    wanted = f"name='{submission.name}' AND tags.model='{submission.digest}'"
    versions = store.client.search_model_versions(wanted)
    newest_first = sorted(versions, key=lambda version: int(version.version), reverse=True)
    return next((version for version in newest_first if _is_stored(store, version)), None)


def _is_stored(store: Store, version: ModelVersion) -> bool:
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    try:
        logged = store.client.get_logged_model(_model_id(version))
        return bool(list_artifacts(logged.artifact_location, tracking_uri=store.uri))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _model_id(version: ModelVersion) -> str:
    return str(version.source).removeprefix("models:/")


def _create(run: Run, submission: Submission) -> ModelVersion:
    """Upload, read back, then create the version with everything it is found by, in one call."""
    from mlflow.exceptions import MlflowException

    client, name, digest = run.store.client, submission.name, submission.digest
    model_id = _upload(run, submission)
    verify(run.store, model_id, submission.folder, digest)
    tags = {"model": digest, "verified": digest, "data": submission.card.data_digest, **run.lineage}
    with suppress(MlflowException):  # it exists; if it does not, the next call says why
        client.create_registered_model(name, description=_ABOUT)
    try:
        version = client.create_model_version(
            name, f"models:/{model_id}", run.id, tags=tags, model_id=model_id
        )
    except MlflowException:
        # The answer may be lost although the version was made.
        found = _find(run.store, submission)
        if found is None:
            raise
        return found
    versions = json.dumps([{"name": name, "version": str(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})
    return version


def _upload(run: Run, submission: Submission) -> str:
    """Store the model folder as an MLflow model; return the id of the logged model."""
    from mlflow.entities import LoggedModelOutput

    client = run.store.client
    logged = client.create_logged_model(
        run.store.experiment_id,
        name="model",
        source_run_id=run.id,
        tags={"model": submission.digest},
        params={name: str(value)[:250] for name, value in submission.card.settings.items()},
        model_type="image-classifier",
    )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "package"
        package.write(submission.folder, target, run_id=run.id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, str(target))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id)


def _judge(run: Run, version: ModelVersion, submission: Submission) -> None:
    """State the verdict on the version and on its run."""
    client, name, number = run.store.client, submission.name, str(version.version)
    decision = submission.decision
    gate = version_page.WORDS[decision.verdict].lower()
    digest = hashlib.sha256(decision.model_dump_json().encode()).hexdigest()
    for tag, value in {"gate": gate, "decision": digest}.items():
        if version.tags.get(tag) != value:
            client.set_model_version_tag(name, number, tag, value)
    description = version_page.describe(
        decision,
        submission.evaluation,
        submission.report,
        lineage={t: version.tags[t] for t in ("data", "git", "dvc", "model") if t in version.tags},
        run_route=run.store.route(run.id),
        model_uri=f"models:/{name}/{number}",
    )
    if version.description != description:
        client.update_model_version(name, number, description)
    run.tags({"gate": gate, "version": f"{name}/{number}"})


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    aliases = client.get_registered_model(name).aliases
    return {alias: str(version) for alias, version in aliases.items()}


def _promote(client: MlflowClient, name: str, number: str) -> str:
    """Move `champion` to the version; read it back, for there is no compare-and-swap."""
    client.set_registered_model_alias(name, CHAMPION, number)
    seen = str(client.get_model_version_by_alias(name, CHAMPION).version)
    if seen != number:
        raise PipelineError(
            f"MLflow: {name}@{CHAMPION} was set to version {number}, but is {seen}: somebody else "
            "moved it at the same time. Run `dvc repro register` again when they are done."
        )
    return seen
