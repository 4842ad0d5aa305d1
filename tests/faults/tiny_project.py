"""A project so small that a whole run takes seconds."""

import shutil
from pathlib import Path

import yaml

from components.io import files, models
from tests.components.conftest import write_params
from tests.conftest import COLORS, noisy_image
from tests.test_end_to_end import SLICE, STEPS, Project, copy_project

_SETTINGS = {
    **SLICE,
    "model.architecture": "mobilenet_v3_small",
    "model.weights": "start/weights.safetensors",
    "validate.min_images": 20,
    "tune.num_trials": 2,
    "tune.epochs": [1, 2],
    "tune.learning_rate": [5e-4, 2e-3],
    "train.learning_rate": 1e-3,
    "train.epochs": 2,
    "training.horizontal_flip": "auto",
    "register.gate.min_test_images": 2,
    "register.gate.min_test_images_per_class": 1,
    "register.gate.max_accuracy": None,
}


class TinyProject(Project):
    """A checkout with 48 images of two colors, on which every model passes."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.environment |= {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
        self._lock: dict[str, object] = {}

    def make(self) -> None:
        """Write it."""
        copy_project(self.root)
        for label, name in enumerate(("blue", "red")):
            folder = self.root / "data/images" / name
            folder.mkdir(parents=True)
            for seed in range(24):
                content = noisy_image(100 * label + seed, (32, 32), COLORS[1 - label])
                (folder / f"{seed:02}.png").write_bytes(content)
        _write_start(self.root)
        for table, columns in (("groups", "path,group"), ("splits", "pixel_sha256,split,path")):
            (self.root / f"data/{table}.csv").write_text(f"{columns}\n")
        self.set_params({})
        self.run("git", "init", "-q")
        self.run("dvc", "add", "-q", "data/images")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "data and code")

    def begin(self, title: str, done: int) -> None:
        """Set the project back: the first `done` steps have run, for another model.

        Args:
            title: names the model and the experiment.
            done: number of steps whose results stay.
        """
        changes = {**_SETTINGS, "register.model_name": title}
        write_params(self.root / "params.yaml", changes)
        self.environment["MLFLOW_EXPERIMENT_NAME"] = title
        lock = self.root / "dvc.lock"
        if not self._lock and lock.exists():
            self._lock = yaml.safe_load(lock.read_text())
        if self._lock:
            stages = self._lock["stages"]
            assert isinstance(stages, dict)
            kept = {step: stages[step] for step in STEPS[:done]}
            lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": kept}))
        for step in STEPS[done:]:
            shutil.rmtree(self.root / "artifacts" / step, ignore_errors=True)
        # DVC would take results from there instead of running the step.
        shutil.rmtree(self.root / ".dvc/cache/runs", ignore_errors=True)

    def weights(self) -> str:
        """The digest of the trained weights."""
        return files.digest_file(self.root / "artifacts/train/model/weights.safetensors")


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
