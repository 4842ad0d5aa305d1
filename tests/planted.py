"""Models whose every prediction is chosen: real networks with computed, not trained, heads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from components import evaluate, register, validate
from components.core.artifacts import ValidationReport
from components.core.data.decoding import DataParams
from components.core.gate.record import DecisionRecord
from components.core.training.architectures import build_network
from components.io import files, models, params
from components.io.data.dataset import DataPaths, open_dataset
from tests import factories
from tests.factories import change_settings

ROOT = Path(__file__).parent.parent
NAME = "cells"
SIZE = 32


@dataclass(frozen=True)
class Planted:
    """A validated data set of noise, about half of it for the test, and room for models."""

    root: Path

    @property
    def data_paths(self) -> DataPaths:
        out = self.root / "artifacts/validate"
        return DataPaths(
            images=self.root / "data/images",
            manifest=out / "manifest.parquet",
            report=out / "report.json",
            cache=self.cache,
        )

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def test(self) -> pd.DataFrame:
        """Manifest rows of the test split, by path."""
        rows = pd.read_parquet(self.data_paths.manifest)
        return rows[rows["split"] == "test"].sort_values("path", ignore_index=True)


def plant_data(root: Path, counts: Mapping[str, int], **changes: object) -> Planted:
    """Write images of noise, so many of each class, and validate them."""
    rng = np.random.default_rng(sum(counts.values()))
    for name, count in counts.items():
        folder = root / "data/images" / name
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            (folder / f"{number:03}.png").write_bytes(file.getvalue())
    for table, header in {"groups": "path,group", "splits": "pixel_sha256,split,path"}.items():
        (root / f"data/{table}.csv").write_text(header + "\n")
    planted = Planted(root)
    validate_again(planted, **changes)
    return planted


def validate_again(planted: Planted, **changes: object) -> None:
    """Run validate on the images as they are now."""
    out = planted.root / "artifacts/validate"
    validate.run(
        validate.Paths(
            images=planted.data_paths.images,
            groups=planted.root / "data/groups.csv",
            pinned_splits=planted.root / "data/splits.csv",
            manifest=out / "manifest.parquet",
            quarantine=out / "quarantine.csv",
            near_duplicates=out / "near_duplicates.csv",
            report=out / "report.json",
            page=out / "report.html",
            cache=planted.cache,
        ),
        settings(planted, validate.Params, changes),
    )


def settings(planted: Planted, kind: type[Any], changes: Mapping[str, object]) -> Any:
    """The committed settings, changed for small data; `changes` have dotted keys."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {
        "data.cache_gib": 1.0,
        "validate.split": {"train": 0.3, "val": 0.1, "test": 0.6},
        "validate.min_images": 20,
        "validate.min_images_per_class": 10,
        "training.device": "cpu",
        "register.model_name": NAME,
        "register.gate.min_accuracy": 0.5,
        "register.gate.min_macro_f1": 0.5,
        "register.gate.max_ece": None,
        "register.gate.max_accuracy": None,
        "register.gate.max_accuracy_gain": None,
    }
    change_settings(raw, {**small, **changes})
    path = planted.root / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return params.load(path, kind)


def plant_model(planted: Planted, name: str, wrong: Sequence[int] = (), salt: int = 0) -> Path:
    """A model folder that classifies every test image correctly but those at rows `wrong`.

    The features of a random ResNet-18 are linearly independent, so a head exists for any
    predictions; another `salt` gives other weights with the same predictions.
    """
    import torch

    report = files.read_artifact(planted.data_paths.report, ValidationReport)
    data = settings(planted, evaluate.Params, {}).data
    torch.manual_seed(salt)
    network = build_network("resnet18", len(report.class_names)).eval()
    test = open_dataset(planted.data_paths, data, SIZE, ("test",)).splits["test"]
    predicted = test.labels.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % len(report.class_names)
    _set_head(network, test.pixels[slice(0, len(predicted))], predicted)
    folder = planted.root / "models" / name
    card = factories.model_card(
        class_names=report.class_names,
        image_size=SIZE,
        images=DataParams(**data.model_dump()).decode_params,
        temperature=1.0,
        weights_sha256=models.save_weights(folder, network.state_dict()),
        data_digest=report.data_digest,
        training_key=files.digest_file(planted.data_paths.manifest)[:32] + name,
    )
    models.save_card(folder, card)
    return folder


def _set_head(network: Any, pixels: Any, predicted: Any) -> None:
    import torch

    from components.core.training import augmentation

    features: list[Any] = []
    hook = network.fc.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.inference_mode():
        network(augmentation.normalize(torch.from_numpy(pixels)))
    hook.remove()
    x = features[0].double().numpy()
    target = np.where(np.eye(int(predicted.max()) + 1)[predicted] > 0, 2.0, -2.0)
    mean = x.mean(axis=0)
    weight = np.linalg.pinv(x - mean, rcond=1e-9) @ target
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(weight.T))
        network.fc.bias.copy_(torch.from_numpy(-mean @ weight))


def evaluate_model(planted: Planted, model: Path) -> Path:
    """Run evaluate; return the folder with what it wrote."""
    out = planted.root / "evaluated" / model.name
    place = planted.data_paths
    evaluate.run(
        evaluate.Paths(
            images=place.images,
            manifest=place.manifest,
            report=place.report,
            model=model,
            cache=place.cache,
            metrics=out / "metrics.json",
            evaluation=out / "evaluation.json",
            predictions=out / "predictions.parquet",
            latency=out / "latency.json",
            plots=out / "plots",
            artifacts=out,
        ),
        settings(planted, evaluate.Params, {"evaluate.top_losses": 0}),
    )
    return out


def register_model(planted: Planted, model: Path, **changes: object) -> DecisionRecord:
    """Run register on an evaluated model; `changes` have dotted keys. Returns decision.json."""
    evaluated, place = planted.root / "evaluated" / model.name, planted.data_paths
    out = planted.root / "registered" / model.name
    register.run(
        register.Paths(
            images=place.images,
            manifest=place.manifest,
            report=place.report,
            model=model,
            evaluation=evaluated / "evaluation.json",
            predictions=evaluated / "predictions.parquet",
            latency=evaluated / "latency.json",
            cache=place.cache,
            decision=out / "decision.json",
            comparison=out / "comparison",
            artifacts=out,
        ),
        settings(planted, register.Params, changes),
    )
    return files.read_artifact(out / "decision.json", DecisionRecord)
