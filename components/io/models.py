"""A model on disk: a folder of two files, weights without pickle and a card in JSON."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import ModelCard
from components.core.errors import ChangedInput, InvalidParams, MissingInput, PipelineError
from components.core.phrases import short_digest
from components.io import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from components.core.training.architectures import ModelParams

WEIGHTS = "weights.safetensors"
CARD = "card.json"

# torchvision's default ImageNet files; the SHA-256 begins with the part after the dash. Kept here
# so that a missing file is found in a second, without importing torch.
_IMAGENET_URL = "https://download.pytorch.org/models/"
_IMAGENET = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-11ad3fa6.pth",
    "resnet101": "resnet101-cd907fc2.pth",
    "resnet152": "resnet152-f82ba261.pth",
    "mobilenet_v3_small": "mobilenet_v3_small-047dcff4.pth",
    "vit_b_16": "vit_b_16-c867db91.pth",
}
_DOWNLOAD_TIMEOUT = 10  # seconds without an answer


@dataclass(frozen=True)
class LoadedModel:
    """A network in eval mode with the card that explains it."""

    network: nn.Module
    card: ModelCard


def save_weights(folder: Path, state: Mapping[str, Tensor]) -> str:
    """Write `state` as the folder's weights; return their SHA-256."""
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    files.write_bytes(folder / WEIGHTS, content)
    return hashlib.sha256(content).hexdigest()


def save_card(folder: Path, card: ModelCard) -> None:
    """Write the card; call it after `save_weights`, so that a card always has its weights."""
    files.write_artifact(folder / CARD, card)


def load_card(folder: Path) -> ModelCard:
    """Read the card alone: no torch needed."""
    return files.read_artifact(folder / CARD, ModelCard)


def load(folder: Path) -> LoadedModel:
    """Read a model folder; the weights must be the ones that the card names."""
    from safetensors.torch import load_file

    from components.core.training.architectures import build_network

    card = load_card(folder)
    path = folder / WEIGHTS
    files.require_file(path)
    found = files.digest_file(path)
    if found != card.weights_sha256:
        raise ChangedInput(
            f"{path}: has SHA-256 {short_digest(found)}, but its card says "
            f"{short_digest(card.weights_sha256)}; the model was changed. Run "
            "`dvc repro train` or restore it with `dvc checkout`."
        )
    network = build_network(card.architecture, len(card.class_names))
    network.load_state_dict(load_file(path))
    return LoadedModel(network.eval(), card)


def find_initial_weights(weights: str, architecture: str) -> Path | None:
    """The file of the initial weights, downloaded if need be; None for random ones.

    Args:
        weights: `model.weights`: imagenet, random, or a path.
        architecture: decides which ImageNet file is meant.

    Raises:
        MissingInput: the file is not there, and cannot be downloaded.
    """
    if weights == "random":
        return None
    if weights == "imagenet":
        return _imagenet_file(architecture)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    raise MissingInput(
        f"params.yaml: model.weights is {weights}, but there is no such file; give imagenet, "
        "random, or the path of a .safetensors or .pth file."
    )


def imagenet_path(architecture: str) -> Path:
    """Where torchvision keeps the file of the ImageNet weights, whether or not it is there."""
    return _torch_home() / "hub" / "checkpoints" / _IMAGENET[architecture]


def has_imagenet(architecture: str) -> bool:
    """Whether the ImageNet weights are in torchvision's cache, whole; downloads nothing."""
    path = imagenet_path(architecture)
    return path.is_file() and _is_genuine(path, path.name)


def _imagenet_file(architecture: str) -> Path:
    """The file in torchvision's cache, downloaded when missing, checked by its name's digest."""
    path = imagenet_path(architecture)
    if not path.exists():
        _download(path)
    if not _is_genuine(path, path.name):
        raise ChangedInput(
            f"{path}: its SHA-256 is not the one in its name, so it is not torchvision's file; "
            "delete it and run again."
        )
    return path


def _is_genuine(path: Path, name: str) -> bool:
    return files.digest_file(path).startswith(Path(name).stem.rpartition("-")[2])


def _torch_home() -> Path:
    """torch.hub's folder, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def _download(path: Path) -> None:
    import urllib.request
    from http.client import HTTPException

    url = _IMAGENET_URL + path.name
    try:
        with files.replacing(path) as temporary:
            with (
                temporary.open("wb") as file,
                urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT) as response,  # noqa: S310
            ):
                shutil.copyfileobj(response, file)
            if not _is_genuine(temporary, path.name):
                raise ConnectionError("other or fewer bytes arrived")
    except (PipelineError, HTTPException) as error:
        raise MissingInput(
            f"params.yaml: model.weights is imagenet, but {path.name} is not in {path.parent} and "
            f"cannot be downloaded ({error.__cause__ or error}). Copy it there from a machine that "
            "has it, give its path as model.weights, or set model.weights: random."
        ) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors file, or of a .pth state dict (never a pickled object)."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes the readers raise anything
        raise InvalidParams(
            f"params.yaml: model.weights: {path} is not a file of tensors "
            f"({' '.join(str(error).split())[:80] or type(error).__name__}); give a .safetensors "
            "file or a state dict."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InvalidParams(
            f"params.yaml: model.weights: {path} is not a state dict (name -> tensor); save one "
            "with torch.save(network.state_dict(), path)."
        )
    return state


def create_model(params: ModelParams, num_classes: int, seed: int) -> tuple[nn.Module, str]:
    """A network with its initial weights, and what these are: "random" or the file's SHA-256."""
    import torch

    from components.core.training import architectures

    path = find_initial_weights(params.weights, params.architecture)
    torch.manual_seed(seed)
    network = architectures.build_network(params.architecture, num_classes)
    if path is None:
        return network, "random"
    architectures.load_backbone(network, read_state(path), params.architecture)
    return network, files.digest_file(path)
