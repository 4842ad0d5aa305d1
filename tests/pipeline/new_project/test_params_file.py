"""Values and reasons change, nothing else does, and DVC would write the file just so."""

import difflib
import shutil
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml

from components.core.errors import InvalidParams
from components.io import params
from pipeline import sample_data
from pipeline.cli.settings import SECTIONS
from pipeline.new_project.facts import SECTION, Choice
from pipeline.new_project.params_file import value_of, with_choices
from tests.components.conftest import ROOT

COMMITTED = ROOT / "params.yaml"
LONG = "a reason of many words that does not fit into what is left of the line, so it goes on below"
CHOICES = [
    Choice("data.resize_mode", "pad", LONG),
    Choice("model.weights", "imagenet", "short"),
    Choice("training.rotate_90", False, "no"),
    Choice("tune.epochs", "auto", "instead of a list"),
    Choice("tune.train_fraction", 0.179, "a share"),
    Choice("register.model_name", "weld", "given"),
    Choice("register.gate", SECTION, LONG),
    Choice("register.gate.max_accuracy", None, LONG),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(COMMITTED, tmp_path / "params.yaml"))


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_a_setting_and_its_comment_are_replaced_and_no_other_line_is(file: Path) -> None:
    text = with_choices(file, CHOICES[3:5])
    assert sorted(changed(COMMITTED.read_text(), text)) == [
        "+   epochs: auto # instead of a list",
        "+   train_fraction: 0.179 # a share",
        "-   - 5",
        "-   - 8",
        "-   epochs:             # auto = the preset's range, or [low, high]",
        "-   train_fraction: 0.3 # of the training images, every class included",
    ]


def test_what_is_written_is_valid_and_stands_as_dvc_writes_it(file: Path) -> None:
    file.write_text(with_choices(file, CHOICES))
    params.check(file, SECTIONS)
    before = file.read_text()
    with modify_yaml(file):
        pass
    assert file.read_text() == before
    raw = params.read_yaml(file)
    for choice in CHOICES:
        if choice.value is not SECTION:
            assert value_of(raw, choice.key) == choice.value
    new = [line[2:] for line in changed(COMMITTED.read_text(), before) if line[0] == "+"]
    assert max(map(len, new)) <= 100


def test_doing_it_twice_changes_nothing_more(file: Path) -> None:
    file.write_text(with_choices(file, CHOICES))
    assert with_choices(file, CHOICES) == file.read_text()


def test_the_comment_of_a_section_leaves_its_settings_alone(file: Path) -> None:
    text = with_choices(file, [Choice("register.gate", SECTION, "mind these")])
    assert "\n  gate: # mind these\n    confidence_level: 0.95" in text


@pytest.mark.parametrize("name", ["1e5", "true", "null", "0x1F", "123", "1.0", "2020-01-01"])
def test_a_name_that_looks_like_something_else_stays_text(file: Path, name: str) -> None:
    file.write_text(with_choices(file, [Choice("register.model_name", name, "given")]))
    assert value_of(params.read_yaml(file), "register.model_name") == name
    params.check(file, SECTIONS)


def test_settings_of_the_user_and_their_comments_stay(file: Path) -> None:
    text = file.read_text().replace("retries: 2 ", "retries: 7 # mine")
    file.write_text(text.replace("training: #", "# mine, too\ntraining: #"))
    text = with_choices(file, CHOICES)
    assert "retries: 7 # mine" in text
    assert "\n# mine, too\ntraining: #" in text


def test_a_layout_that_cannot_be_changed_line_by_line_is_refused(file: Path) -> None:
    text = file.read_text()
    start, end = text.index("model:"), text.index("validate:")
    model = "model: {architecture: resnet18, weights: random, image_size: 128}\n"
    file.write_text(text[:start] + model + text[end:])
    with pytest.raises(InvalidParams, match=r"model\.weights does not stand on a line of its own"):
        with_choices(file, CHOICES)
    folded = text.replace("model_name: solar-cells", "model_name:\n    solar-cells")
    file.write_text(folded)
    assert value_of(params.read_yaml(file), "register.model_name") == "solar-cells"
    assert "model_name: weld # given" in with_choices(file, CHOICES)


def test_the_settings_that_count_as_the_samples_are_the_committed_ones() -> None:
    """Whoever changes one of them in params.yaml changes it in pipeline/sample_data.py, too."""
    raw = params.read_yaml(COMMITTED)
    assert {name: value_of(raw, name) for name in sample_data.SETTINGS} == sample_data.SETTINGS
    assert set(sample_data.TELLTALE) <= set(sample_data.SETTINGS)
