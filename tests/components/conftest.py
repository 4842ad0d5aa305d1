"""A small validated data set, and params for quick trainings, shared by the step tests."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from components import validate
from components.io import params
from tests.factories import change_settings

ROOT = Path(__file__).parent.parent.parent

# Small enough to train in seconds, large enough to have all three splits of both classes.
QUICK = {
    "model.image_size": 32,
    "validate.min_images": 20,
    "validate.min_images_per_class": 10,
    "training.batch_size": 8,
    "training.augmentation": "light",
    "training.device": "cpu",
    "training.precision": "fp32",
    "tune.image_size": 32,
    "tune.num_trials": 2,
    "tune.timeout_seconds": 60,
    "tune.epochs": [1, 2],
    "tune.train_fraction": 0.5,
    "train.early_stopping": 50,
}


@dataclass(frozen=True)
class Workspace:
    """Folders as a checkout has them, with a validated data set inside."""

    root: Path

    @property
    def inputs(self) -> dict[str, Path]:
        """The arguments that tune, train and evaluate have in common."""
        return {
            "images": self.root / "data/images",
            "manifest": self.root / "artifacts/validate/manifest.parquet",
            "report": self.root / "artifacts/validate/report.json",
            "cache": self.root / "cache",
        }

    def out(self, name: str) -> Path:
        """A path below artifacts/."""
        return self.root / "artifacts" / name


Settings = Callable[..., Any]


def _image_bytes(label: int, seed: int) -> bytes:
    """Horizontal or vertical stripes with noise: learnable, and no two alike."""
    rng = np.random.default_rng([label, seed])
    wave = np.sin(np.arange(40) * rng.uniform(0.5, 0.9) + rng.uniform(0, 6))
    stripes = np.tile(wave, (40, 1)) if label else np.tile(wave[:, None], (1, 40))
    gray = 128 + 70 * stripes + rng.normal(0, 12, (40, 40))
    buffer = io.BytesIO()
    Image.fromarray(gray.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_params(path: Path, changes: Mapping[str, object]) -> Path:
    """The committed params.yaml with QUICK and `changes` (dotted keys) on top."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    change_settings(raw, {**QUICK, **changes})
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """settings(StepParams, {"train.epochs": 2}) -> StepParams with quick values."""

    def load(kind: type[Any], changes: Mapping[str, object] | None = None) -> Any:
        return params.load(write_params(tmp_path / "params.yaml", changes or {}), kind)

    return load


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two classes of 24 striped images, validated. Do not change its files: copy them."""
    root = tmp_path_factory.mktemp("workspace")
    for label, name in enumerate(("lying", "standing")):
        folder = root / "data/images" / name
        folder.mkdir(parents=True)
        for seed in range(24):
            (folder / f"{seed:02}.png").write_bytes(_image_bytes(label, seed))
    (root / "data/groups.csv").write_text("path,group\n")
    (root / "data/splits.csv").write_text("pixel_sha256,split,path\n")
    out = root / "artifacts/validate"
    loaded = params.load(write_params(root / "params.yaml", {}), validate.Params)
    validate.run(
        validate.Paths(
            images=root / "data/images",
            groups=root / "data/groups.csv",
            pinned_splits=root / "data/splits.csv",
            manifest=out / "manifest.parquet",
            quarantine=out / "quarantine.csv",
            near_duplicates=out / "near_duplicates.csv",
            report=out / "report.json",
            page=out / "report.html",
            cache=root / "cache",
        ),
        loaded,
    )
    return Workspace(root)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A real MLflow store: one SQLite file for all tests of the session's folder."""
    uri = f"sqlite:///{tmp_path_factory.getbasetemp() / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    return uri
