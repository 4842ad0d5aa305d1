"""A project so small that a whole run takes seconds, whose model passes the gate."""

import compileall
from pathlib import Path

from components.io import models
from tests.components.conftest import write_params
from tests.conftest import COLORS, noisy_image
from tests.test_end_to_end import SLICE, copy_project

_IMAGES = 24  # of each class
_SETTINGS = {
    **SLICE,
    "model.architecture": "mobilenet_v3_small",
    "model.weights": "start/weights.safetensors",
    "validate.min_images": 20,
    # Two, for tune to choose by: whether the final model flips images, and so its weights.
    "tune.num_trials": 2,
    # Who is killed often uses more of it, and fewer trials would find something else.
    "tune.timeout_seconds": 900,
    "tune.epochs": [1, 2],
    "tune.learning_rate": [5e-4, 2e-3],
    "train.learning_rate": 1e-3,
    "train.epochs": 2,
    "training.horizontal_flip": "auto",
    "evaluate.top_losses": 0,
    "register.gate.min_test_images": 2,
    "register.gate.min_test_images_per_class": 1,
    "register.gate.max_accuracy": None,
}


def make(root: Path) -> None:
    """Write code, data, settings and weights to start from; no history and nothing of DVC's."""
    copy_project(root)
    for name in ("components", "pipeline"):
        # Otherwise each of hundreds of processes would compile it.
        compileall.compile_dir(root / name, quiet=1)
    for label, name in enumerate(("blue", "red")):
        folder = root / "data/images" / name
        folder.mkdir(parents=True)
        for seed in range(_IMAGES):
            content = noisy_image(100 * label + seed, (32, 32), COLORS[1 - label])
            (folder / f"{seed:02}.png").write_bytes(content)
    for table, columns in (("groups", "path,group"), ("splits", "pixel_sha256,split,path")):
        (root / f"data/{table}.csv").write_text(f"{columns}\n")
    _write_start(root)
    write_settings(root, "tiny")


def write_settings(root: Path, model: str) -> None:
    """Write params.yaml.

    Args:
        root: of the project.
        model: name of the registered model.
    """
    write_params(root / "params.yaml", {**_SETTINGS, "register.model_name": model})


def _write_start(root: Path) -> None:
    """Weights that tell the classes apart: one epoch from them makes a model that passes."""
    import numpy as np
    import torch
    from PIL import Image

    from components.core.training import augmentation
    from components.core.training.architectures import build_network

    paths = sorted((root / "data/images").rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    images = augmentation.normalize(torch.from_numpy(pixels))
    labels = torch.tensor([int(path.parent.name == "red") for path in paths])
    torch.manual_seed(0)
    network = build_network("mobilenet_v3_small", 2).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3  # of a few steps, not of the usual thousands
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    models.save_weights(root / "start", network.state_dict())
