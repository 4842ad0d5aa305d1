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
from components.core.artifacts import Evaluation
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.policy import GatePolicy
from components.io import params

ROOT = Path(__file__).parent.parent.parent

# Small enough to train in seconds, large enough to have all three splits of both classes.
QUICK = {
    "model.image_size": 32,
    "validate.min_images": 20,
    "validate.min_images_per_class": 10,
    "training.batch_size": 8,
    "training.augmentation": "light",
    "training.progressive_resizing_start": 1.0,
    "training.device": "cpu",
    "training.precision": "fp32",
    "tune.image_size": 32,
    "tune.num_trials": 2,
    "tune.timeout_seconds": 60,
    "tune.epochs": [1, 2],
    "tune.train_fraction": 0.5,
    "train.early_stopping": 50,
}


# Nothing is demanded: what remains is whether the evidence is sound.
LENIENT = GatePolicy(
    confidence=0.95,
    min_accuracy=0.0,
    min_macro_f1=0.0,
    min_class_recall=0.0,
    min_test_images=1,
    min_test_images_per_class=1,
    max_ece=None,
    max_accuracy=None,
    max_model_mb=None,
    max_latency_ms=None,
    champion_test="non_inferior",
    margin=0.05,
    max_class_recall_drop=0.1,
    max_accuracy_gain=None,
    max_test_set_uses=20,
)


def first_model(evaluation: Evaluation, class_names: list[str]) -> Evidence:
    """Evidence about a model that has no champion to beat."""
    return Evidence(
        class_names=class_names,
        model_digest=evaluation.model_digest,
        data_digest=evaluation.data_digest,
        test_digest=evaluation.test_digest,
        evaluation_sha256="e" * 64,
        predictions_sha256=evaluation.predictions_sha256,
        model_bytes=1,
        latency_p95_ms=None,
        previous_test_uses=0,
        leaked_test_images=0,
        revoked_reason="",
        champion=ChampionEvidence(state="none", model_digest="", predictions_sha256="", reason=""),
    )


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


def _picture(label: int, seed: int) -> bytes:
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
    for dotted, value in {**QUICK, **changes}.items():
        *sections, key = dotted.split(".")
        place = raw
        for section in sections:
            place = place[section]
        assert key in place, f"{dotted} is not in params.yaml"
        place[key] = value
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
    """Two classes of 24 striped pictures, validated. Do not change its files: copy them."""
    root = tmp_path_factory.mktemp("workspace")
    for label, name in enumerate(("lying", "standing")):
        folder = root / "data/images" / name
        folder.mkdir(parents=True)
        for seed in range(24):
            (folder / f"{seed:02}.png").write_bytes(_picture(label, seed))
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
