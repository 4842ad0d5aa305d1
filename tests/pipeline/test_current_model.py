"""A model that a forgotten process left is not registered under the settings of today."""

from pathlib import Path

import pytest

from components import register, train
from components.core.artifacts import ModelCard
from components.core.errors import ChangedInput
from components.io import models
from pipeline import current_model
from tests import factories
from tests.components.conftest import write_params


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> register.Paths:
    """A project with a trained model, whose key is the number of its epochs."""
    monkeypatch.chdir(tmp_path)

    def key(paths: train.Paths, params: train.Params, card: ModelCard) -> str:
        assert paths == train.Paths()
        assert card.training_key == "2" * 64
        return str(params.train.epochs) * 64

    monkeypatch.setattr(current_model, "expected_key", key)
    models.save_card(train.Paths().model, factories.model_card(training_key="2" * 64))
    write_params(tmp_path / "params.yaml", {"train.epochs": 2})
    return register.Paths()


def test_only_the_model_of_the_present_settings_passes(paths: register.Paths) -> None:
    for epochs, refused in ((2, False), (3, True), (2, False)):
        write_params(Path("params.yaml"), {"train.epochs": epochs})
        try:
            current_model.require(paths)
            found = False
        except ChangedInput:
            found = True
        assert found is refused


@pytest.mark.row("P28", "P30")
def test_the_model_of_other_settings_is_refused(paths: register.Paths) -> None:
    write_params(Path("params.yaml"), {"train.epochs": 3})
    with pytest.raises(ChangedInput, match=r"key is 2222\S+, but params.yaml, .* give 3333") as no:
        current_model.require(paths)
    assert no.value.exit_code == 1


def test_a_model_from_elsewhere_is_not_asked(
    paths: register.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    load_card = models.load_card

    def load(path: Path) -> ModelCard:
        asked.append(path)
        return load_card(path)

    monkeypatch.setattr(models, "load_card", load)
    current_model.require(register.Paths(model=Path("elsewhere")))
    assert asked == []
    current_model.require(paths)
    assert asked == [paths.model]
