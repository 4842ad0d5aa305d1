"""Checks of what a run would end with: weights that are missing, a gate that no model can pass."""

from __future__ import annotations

from components import validate
from components.core.errors import MissingInput, PipelineError
from components.core.phrases import listing
from components.io import models, params
from pipeline import IMAGES, SETTINGS, foresight
from pipeline.doctor.check import Check, CheckResult
from pipeline.image_folder import ImageFolder, look

_SHOWN = 3


def checks() -> dict[str, Check]:
    """Name -> check, in the order of the table."""
    return {"weights": weights, "sample": sample, "gate": gate, "champion": champion}


def weights() -> CheckResult:
    """Whether the initial weights are there; nothing is downloaded."""
    model = params.load(SETTINGS, foresight.Settings).model
    if model.weights != "imagenet":
        try:
            path = models.find_initial_weights(model.weights, model.architecture)
        except PipelineError as error:
            return CheckResult("fail", str(error))
        return CheckResult("pass", str(path or "random"))
    path = models.imagenet_path(model.architecture)
    if models.has_imagenet(model.architecture):
        return CheckResult("pass", str(path))
    if path.exists():
        return CheckResult("fail", f"{path}: is not the file that its name says", "delete it")
    hint = f"the next run downloads it; without a network, copy it to {path.parent}"
    return CheckResult("warn", f"imagenet: {path.name} is not in torchvision's cache", hint)


def sample() -> CheckResult:
    """Whether the settings are the sample's though the images are not."""
    if notice := foresight.sample_settings(_images()):
        return CheckResult("warn", notice)
    return CheckResult("pass", "the images, or settings of their own")


def gate() -> CheckResult:
    """Whether a model without an error could pass."""
    loaded, paths = params.load(SETTINGS, foresight.Settings), validate.Paths()
    test = foresight.held_out(paths, _images(), loaded)
    if obstacles := foresight.gate_obstacles(loaded, test):
        hint = "lower the bound in register.gate, or collect images"
        return CheckResult(
            "warn", f"no model can pass: {listing(obstacles, _SHOWN, '. Also: ')}", hint
        )
    return CheckResult("pass", f"can be passed with {test.title}")


def champion() -> CheckResult:
    """Whether the champion can be compared with a model of these classes."""
    loaded = params.load(SETTINGS, foresight.Settings)
    if notice := foresight.champion_classes(loaded, _images().class_names):
        return CheckResult("warn", notice)
    return CheckResult("pass", f"none of {loaded.register.model_name}, or of the same classes")


def _images() -> ImageFolder:
    if not IMAGES.is_dir():
        raise MissingInput(f"{IMAGES}: does not exist")
    return look(IMAGES)
