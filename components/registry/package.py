"""A model folder wrapped as an MLflow model: its code, requirements and signature beside it."""

import warnings
from importlib.metadata import version
from pathlib import Path

import components
from components.io import files

_SERVED_MODEL = Path(__file__).with_name("served_model.py")

# What loading and predicting imports. Stated, never inferred: inference runs the model once more
# in a process of its own, and takes minutes.
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "safetensors",
    "torch",
    "torchvision",
)


def requirements() -> list[str]:
    """The installed versions of what the model needs; without local labels such as +cpu."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS]


def write(folder: Path, target: Path, *, run_id: str, model_id: str) -> None:
    """Write the MLflow model around `folder` to `target`, which must not exist.

    The whole package `components` travels with it: small, without generated files, and never out
    of step with what the served code imports. Nothing of it but core and the reader of model
    folders runs.

    Args:
        folder: weights and card.
        target: folder to create.
        run_id: the MLflow run that the model comes from.
        model_id: the logged model that the files are for.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    from components.registry.served_model import OUTPUT_SCHEMA

    model = Model(run_id=run_id, model_uuid=model_id, model_id=model_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyfunc.save_model(
            target,
            python_model=_SERVED_MODEL,
            # As a URI: in a path MLflow would take %41 for A.
            artifacts={"model": folder.resolve().as_uri()},
            code_paths=[str(Path(components.__file__).parent)],
            pip_requirements=requirements(),
            mlflow_model=model,
        )
    assert model.signature is not None
    model.signature.outputs = OUTPUT_SCHEMA
    files.write_with(target / "MLmodel", model.save)
