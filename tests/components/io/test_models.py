"""Model folders without pickle, and starting weights that are what they say."""

import hashlib
import io
import pickle
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from components.core.artifacts import ModelCard
from components.core.data.decoding import ImageParams
from components.core.errors import ChangedInput, InvalidParams, MissingInput, PipelineError
from components.core.training.architectures import ModelParams, build_network
from components.io import models


def card(weights_sha256: str) -> ModelCard:
    return ModelCard(
        architecture="resnet18",
        class_names=["cat", "dog", "eel"],
        image_size=32,
        images=ImageParams(
            formats=["PNG"],
            max_pixels=1000,
            white_level=None,
            multi_frame="refuse",
            background=(1, 2, 3),
            resize_mode="crop",
        ),
        temperature=1.25,
        weights_sha256=weights_sha256,
        initial_weights="random",
        data_digest="d" * 64,
        training_key="k" * 64,
        settings={"epochs": 3, "learning_rate": 0.001, "rotate_90": True, "device": "cpu"},
        best_epoch=2,
        val_loss=0.5,
    )


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return build_network("resnet18", 3).eval()


@pytest.fixture
def folder(tmp_path: Path, network: nn.Module) -> Path:
    """A saved model."""
    folder = tmp_path / "model"
    models.save_card(folder, card(models.save_weights(folder, network.state_dict())))
    return folder


def test_a_model_comes_back_with_equal_logits_ready_for_use(
    folder: Path, network: nn.Module
) -> None:
    loaded = models.load(folder)
    assert not loaded.network.training
    assert loaded.card == models.load_card(folder) == card(loaded.card.weights_sha256)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.network(images), network(images))


def test_a_model_is_two_files_and_neither_is_a_pickle(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]
    for path in folder.iterdir():
        with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, EOFError)):
            pickle.loads(path.read_bytes())


def test_the_digest_returned_is_that_of_the_file(folder: Path, network: nn.Module) -> None:
    content = (folder / "weights.safetensors").read_bytes()
    assert models.load_card(folder).weights_sha256 == hashlib.sha256(content).hexdigest()
    again = models.save_weights(folder, network.state_dict())
    assert again == models.load_card(folder).weights_sha256


def test_weights_of_any_memory_layout_and_gradient_can_be_saved(tmp_path: Path) -> None:
    tensor = torch.ones(2, 3, 4, 4, requires_grad=True).to(memory_format=torch.channels_last)
    models.save_weights(tmp_path, {"a": tensor, "b": torch.zeros(6).view(2, 3).t()})
    state = models.read_state(tmp_path / "weights.safetensors")
    assert torch.equal(state["a"], tensor.detach())
    assert torch.equal(state["b"], torch.zeros(3, 2))


@pytest.mark.parametrize("place", [10, 1000, -1])
def test_tampered_weights_are_refused(folder: Path, place: int) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[place] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ChangedInput, match="the model was changed") as refused:
        models.load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_half_a_model_is_missing_input(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingInput, match=f"{name}: does not exist"):
        models.load(folder)


@pytest.mark.row("R08")
def test_weights_on_a_full_disk_leave_no_half_file(small_disk: Path, network: nn.Module) -> None:
    with pytest.raises(PipelineError, match="No space left on device"):
        models.save_weights(small_disk, network.state_dict())
    assert list(small_disk.iterdir()) == []


def test_every_imagenet_file_is_torchvisions_default() -> None:
    for architecture, name in models._IMAGENET.items():
        url = torchvision.models.get_model_weights(architecture).DEFAULT.url
        assert url == models._IMAGENET_URL + name


def test_random_weights_need_no_file() -> None:
    assert models.find_initial_weights("random", "resnet18") is None


def test_a_file_of_weights_is_found_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pth"
    path.touch()
    assert models.find_initial_weights(str(path), "resnet18") == path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models.find_initial_weights("~/mine.pth", "resnet18") == path


@pytest.mark.parametrize("weights", ["nowhere.pth", "Imagenet", "."])
def test_a_file_that_is_not_there_is_one_line(weights: str) -> None:
    with pytest.raises(MissingInput) as missing:
        models.find_initial_weights(weights, "resnet18")
    assert str(missing.value) == (
        f"params.yaml: model.weights is {weights}, but there is no such file; give imagenet, "
        "random, or the path of a .safetensors or .pth file."
    )


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's folder of downloads: empty, and nothing can be downloaded."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "torch" / "hub" / "checkpoints"


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes, name: str) -> list[str]:
    """Let downloads give `content`, and let `name` be resnet18's file; the urls asked for."""
    asked: list[str] = []

    def respond(url: str, timeout: float) -> io.BytesIO:
        assert 0 < timeout <= 30
        asked.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", respond)
    monkeypatch.setitem(models._IMAGENET, "resnet18", name)
    return asked


@pytest.mark.row("R18")
def test_without_the_file_and_the_network_the_fix_is_named(checkpoints: Path) -> None:
    with pytest.raises(MissingInput) as missing:
        models.find_initial_weights("imagenet", "resnet18")
    text = str(missing.value)
    assert text.startswith(
        "params.yaml: model.weights is imagenet, but resnet18-f37072fd.pth is not in "
        f"{checkpoints} and cannot be downloaded (<urlopen error Name or service not known>). "
    )
    assert text.endswith("or set model.weights: random.")
    assert list(checkpoints.iterdir()) == []


def test_a_download_is_kept_and_not_repeated(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"weights" * 1000
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    asked = serve(monkeypatch, content, name)
    for _ in range(2):
        assert models.find_initial_weights("imagenet", "resnet18") == checkpoints / name
    assert asked == [f"https://download.pytorch.org/models/{name}"]
    assert (checkpoints / name).read_bytes() == content


def test_a_download_cut_short_leaves_nothing_behind(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, b"half", "resnet18-f37072fd.pth")
    with pytest.raises(MissingInput, match=r"\(other or fewer bytes arrived\)"):
        models.find_initial_weights("imagenet", "resnet18")
    assert list(checkpoints.iterdir()) == []


@pytest.mark.row("R18")
def test_a_foreign_file_under_torchvisions_name_is_refused(checkpoints: Path) -> None:
    checkpoints.mkdir(parents=True)
    (checkpoints / "resnet18-f37072fd.pth").write_bytes(b"something else")
    with pytest.raises(ChangedInput, match="not torchvision's file; delete it and run again"):
        models.find_initial_weights("imagenet", "resnet18")


def test_the_download_folder_is_the_one_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({}, {"XDG_CACHE_HOME": "/x"}, {"TORCH_HOME": "/t"}, {"TORCH_HOME": "~/t"}):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert models._torch_home() / "hub" == Path(torch.hub.get_dir())


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.marker,))


STATE = {"conv.weight": torch.arange(6.0).view(2, 3)}


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors"])
def test_tensors_are_read_from_either_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        models.save_weights(tmp_path, STATE)
    else:
        torch.save(STATE, path)
    found = models.read_state(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["conv.weight"], STATE["conv.weight"])


def _whole_pth() -> bytes:
    file = io.BytesIO()
    torch.save(STATE, file)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, I am text\n",
        b"PK\x03\x04" + bytes(100),
        bytes(range(256)),
        _whole_pth()[:200],
        _whole_pth()[:-100],
        b"(" * 50,
        b"<html><body>404</body></html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        pickle.dumps({"a": 1}, protocol=2)[:-3],
    ],
)
def test_a_file_that_holds_no_tensors_is_refused_in_one_line(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidParams) as refused:
        models.read_state(path)
    assert str(refused.value).startswith(f"params.yaml: model.weights: {path} is not a ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": STATE}, {"epoch": 3}, STATE["conv.weight"]]
)
def test_a_file_of_something_else_than_a_state_dict_is_refused(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InvalidParams, match="is not a state dict"):
        models.read_state(tmp_path / "weights.pth")


def test_pickled_objects_are_refused_without_running_them(tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    for content in (Bomb(marker), {"a": Bomb(marker)}, nn.Linear(2, 2)):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(InvalidParams, match="is not a file of tensors"):
            models.read_state(tmp_path / "weights.pth")
    assert not marker.exists()


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A whole resnet18 for 1000 classes as a file with its digest in its name."""
    torch.manual_seed(11)
    state = dict(build_network("resnet18", 1000).state_dict())
    folder = tmp_path_factory.mktemp("torch") / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    return (folder / "new.pth").rename(folder / f"resnet18-{digest[:8]}.pth"), state


def start(weights: str, seed: int = 0, architecture: str = "resnet18") -> tuple[nn.Module, str]:
    values = {"architecture": architecture, "weights": weights, "image_size": 32}
    return models.create_model(ModelParams.model_validate(values), 3, seed)


def test_imagenet_weights_fill_everything_but_the_head(
    downloaded: tuple[Path, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, state = downloaded
    monkeypatch.setenv("TORCH_HOME", str(path.parents[2]))
    monkeypatch.setitem(models._IMAGENET, "resnet18", path.name)
    network, initial = start("imagenet")
    assert initial == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        if name.startswith("fc."):
            assert len(tensor) == 3
        else:
            assert torch.equal(tensor, state[name]), name


def test_a_file_gives_the_same_start_as_its_download(
    downloaded: tuple[Path, dict[str, Tensor]],
) -> None:
    path, state = downloaded
    network, initial = start(str(path))
    assert initial.startswith(path.stem.rpartition("-")[2])
    assert torch.equal(network.state_dict()["conv1.weight"], state["conv1.weight"])


def test_weights_of_another_shape_are_refused(
    downloaded: tuple[Path, dict[str, Tensor]],
) -> None:
    with pytest.raises(InvalidParams, match=r"these are not the weights of resnet50"):
        start(str(downloaded[0]), architecture="resnet50")


def test_a_random_start_depends_on_the_seed_alone() -> None:
    (one, initial), (again, _), (other, _) = start("random"), start("random"), start("random", 1)
    assert initial == "random"
    state = one.state_dict()
    assert all(torch.equal(state[name], t) for name, t in again.state_dict().items())
    assert not torch.equal(state["conv1.weight"], other.state_dict()["conv1.weight"])
