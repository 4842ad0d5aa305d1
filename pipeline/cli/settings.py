"""All sections of params.yaml. Imports every step: for what needs them, when it needs them."""

from __future__ import annotations

from components import evaluate, register, train, tune, validate
from components.io import params
from pipeline.kubeflow import resources

# Every section of params.yaml with the class that owns it.
SECTIONS = {
    name: kind
    for kinds in (
        *(step.Params for step in (validate, tune, train, evaluate, register)),
        resources.Params,
    )
    for name, kind in params.sections(kinds).items()
}
