"""A run of what a branch holds today, and the note of what was run to its end. Imports no kfp."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from components.core.errors import InvalidParams
from components.core.phrases import short_digest
from components.tracking import lineage
from components.tracking.store import open_store
from pipeline.kubeflow import fetch, sections

# Sections of params.yaml that steps read; the schedule has its own `cluster`.
SECTIONS = ("data", "model", "validate", "training", "tune", "train", "evaluate", "register")


class Tip(NamedTuple):
    """What a branch holds.

    Attributes:
        branch: its name.
        revision: full git commit.
        data_hash: DVC's hash of its images.
        sections: section of its params.yaml -> content as JSON.
    """

    branch: str
    revision: str
    data_hash: str
    sections: dict[str, str]

    def __str__(self) -> str:
        facts = f"git {short_digest(self.revision)}, data {short_digest(self.data_hash)}"
        return f"{self.branch} ({facts})"


def read(project: Path, repository: str, branch: str) -> Tip:
    """Check out the tip of a branch in `project`, without its images.

    Raises:
        InvalidParams: there is no such branch, or its params.yaml lacks a section.
        ServiceUnavailable: git did not deliver.
    """
    revision = fetch.tip(repository, branch)
    fetch.check_out(project, repository, revision)
    found = sections.to_json(project)
    if missing := [name for name in SECTIONS if name not in found]:
        raise InvalidParams(
            f"{branch} at {short_digest(revision)}: its params.yaml lacks the sections "
            f"{', '.join(missing)}; correct it there. The next run takes the branch as it is then."
        )
    return Tip(branch, revision, lineage.dvc_hash(project / fetch.POINTER), found)


def is_known(model: str, tip: Tip) -> bool:
    """Whether a run of this very commit and these very images ended with a verdict.

    Args:
        model: name of the registered model.
        tip: of the branch.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    with open_store() as store:
        tags = store.client.get_experiment(store.experiment_id).tags
    return bool(tags.get(_tag(model, tip.branch)) == _value(tip))


def note(model: str, tip: Tip) -> None:
    """Note that this commit with these images has its verdict.

    At the experiment: who trains may not read the registered model, and so uploads nothing for it.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    with open_store() as store:
        store.client.set_experiment_tag(store.experiment_id, _tag(model, tip.branch), _value(tip))


def _tag(model: str, branch: str) -> str:
    """MLflow takes fewer characters than git; a clash costs a run, since the commits differ."""
    return f"{model}/branch/{re.sub(r'[^A-Za-z0-9_.-]', '_', branch)}"


def _value(tip: Tip) -> str:
    return f"{tip.revision} {tip.data_hash}"
