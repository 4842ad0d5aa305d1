"""params.yaml: every kind of wrong setting is refused in one line that says how to fix it."""

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from components import STEPS
from components.core.errors import InvalidParams, MissingInput
from components.io import params
from pipeline.cli.settings import SECTIONS

COMMITTED = Path(__file__).parents[3] / "params.yaml"


class Gate(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    min_accuracy: Annotated[float, Field(ge=0, le=1)]
    min_images: Annotated[int, Field(gt=0)]


class Learn(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Literal["tuned"] | Annotated[float, Field(ge=1e-6, le=1e-1)]
    epochs: Literal["auto"] | tuple[Annotated[int, Field(ge=1, le=50)], int]
    flip: bool
    device: Literal["auto", "cpu", "cuda"]
    name: Annotated[str, Field(min_length=1)]
    tags: list[str]
    shares: dict[Literal["train", "test"], float]
    pattern: Annotated[str, Field(pattern="^a")] | None
    gate: Gate

    @model_validator(mode="after")
    def _named(self) -> "Learn":
        if self.name == "auto" and self.device == "auto":
            raise ValueError("name and device cannot both be auto")
        return self


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    learn: Learn


GOOD = """
learn: # all is well
  learning_rate: 1.0e-3
  epochs: [3, 6]
  flip: true
  device: cpu
  name: cells
  tags: []
  shares: {train: 0.9, test: 0.1}
  pattern: null
  gate: {min_accuracy: 0.95, min_images: 10}
other: {}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def line_of(file: Path, *changes: tuple[str, str]) -> str:
    """The error line for GOOD with these replacements, less the name of the file.

    Several are told apart by bars.
    """
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    with pytest.raises(InvalidParams) as refused:
        params.load(file, Params)
    first, *mistakes = str(refused.value).split("\n  ")
    assert "\n" not in first
    assert len(mistakes) != 1, "a single one needs no second line"
    if mistakes:
        assert first == f"params.yaml: {len(mistakes)} mistakes"
        return " | ".join(mistakes)
    return first.removeprefix("params.yaml: ")


def test_good_settings_arrive_typed(file: Path) -> None:
    file.write_text(GOOD)
    learn = params.load(file, Params).learn
    assert (learn.learning_rate, learn.epochs, learn.flip) == (0.001, (3, 6), True)
    assert learn.gate == Gate(min_accuracy=0.95, min_images=10)


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1.0e-3", "0.001", "10e-4", "+1e-3"])
def test_a_number_may_be_written_as_people_and_dvc_write_it(file: Path, written: str) -> None:
    file.write_text(GOOD.replace("1.0e-3", written))
    assert params.load(file, Params).learn.learning_rate == 0.001


@pytest.mark.row("C01")
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "learning_rate",
            "lerning_rate",
            "learn.lerning_rate is not a setting. Did you mean learn.learning_rate?",
        ),
        (
            "min_accuracy",
            "min_acuracy",
            "learn.gate.min_acuracy is not a setting. Did you mean learn.gate.min_accuracy?",
        ),
        (
            "flip: true",
            "flip: true\n  zzz: 1",
            (
                "learn.zzz is not a setting. Known here: learning_rate, epochs, flip, device, "
                "name, tags, shares, pattern, gate."
            ),
        ),
        ("  name: cells\n", "", "learn.name is missing; add it."),
        ("learn:", "learm:", "section learn is missing; add it."),
    ],
)
def test_a_wrong_or_missing_name_is_pointed_at(file: Path, old: str, new: str, line: str) -> None:
    assert line_of(file, (old, new)) == line


@pytest.mark.row("C02")
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "1.0e-3",
            "'1e-3'",
            "learn.learning_rate is the text '1e-3', not a number; write it as 0.001.",
        ),
        (
            "1.0e-3",
            "'1e-5'",
            "learn.learning_rate is the text '1e-5', not a number; write it as 1.0e-05.",
        ),
        (
            "1.0e-3",
            "fast",
            "learn.learning_rate is 'fast'; it should be 'tuned' or a number from 1.0e-06 to 0.1.",
        ),
        ("1.0e-3", "5", "learn.learning_rate is 5; it should be 'tuned' or a number from "),
        ("1.0e-3", ".nan", "learn.learning_rate is NaN; it should be 'tuned' or a number from "),
        ("1.0e-3", "nan", "learn.learning_rate is 'nan'; it should be 'tuned' or a number from "),
        ("1.0e-3", "-.inf", "learn.learning_rate is -Infinity; it should be 'tuned' or a number "),
        ("1.0e-3", "", "learn.learning_rate is null; it should be 'tuned' or a number from 1.0e"),
        ("1.0e-3", "0", "learn.learning_rate is 0; it should be 'tuned' or a number from 1.0e-0"),
        (
            "[3, 6]",
            "[0, 6]",
            (
                "learn.epochs is [0, 6]; it should be 'auto' or a list of 2, each a whole number "
                "from 1 to 50 or a whole number."
            ),
        ),
        ("[3, 6]", "3", "learn.epochs is 3; it should be 'auto' or a list of 2, each a whole numb"),
        ("[3, 6]", "[3]", "learn.epochs is [3]; it should be 'auto' or a list of 2, each a whole"),
        ("[3, 6]", "[2.5, 6]", "learn.epochs is [2.5, 6]; it should be 'auto' or a list of 2, "),
        ("[3, 6]", "[true, 6]", "learn.epochs is [true, 6]; it should be 'auto' or a list of 2, "),
        ("flip: true", "flip: 1", "learn.flip is 1; it should be true or false."),
        ("flip: true", "flip: 'yes'", "learn.flip is 'yes'; it should be true or false."),
        ("cpu", "tpu", "learn.device is 'tpu'; it should be 'auto', 'cpu' or 'cuda'."),
        ("cells", "''", "learn.name is ''; it should be text of length at least 1."),
        ("tags: []", "tags: all", "learn.tags is 'all'; it should be a list of text."),
        ("tags: []", "tags: [1]", "learn.tags is [1]; it should be a list of text."),
        (
            "train: 0.9",
            "trian: 0.9",
            (
                "learn.shares is {\"trian\": 0.9, \"test\": 0.1}; it should be 'train' or 'test', "
                "each with a number."
            ),
        ),
        ("null", "b", "learn.pattern is 'b'; it should be text that matches ^a or null."),
        ("0.95", "95", "learn.gate.min_accuracy is 95; it should be a number from 0 to 1."),
        ("10}", "0}", "learn.gate.min_images is 0; it should be a whole number above 0."),
        ("10}", "'10'}", "learn.gate.min_images is the text '10', not a number; write it as 10."),
        (
            "{min_accuracy: 0.95, min_images: 10}",
            "0.95",
            "learn.gate is 0.95; it should be settings: min_accuracy, min_images.",
        ),
    ],
)
def test_a_wrong_value_is_shown_with_what_would_be_right(
    file: Path, old: str, new: str, line: str
) -> None:
    found = line_of(file, (old, new))
    assert found.startswith(line)
    assert "more:" not in found  # not one problem for each branch of a choice


def test_what_looks_like_a_date_is_text_where_text_is_expected(file: Path) -> None:
    file.write_text(GOOD.replace("cells", "2020-01-01"))
    assert params.load(file, Params).learn.name == "2020-01-01"


def test_a_rule_about_two_settings_has_its_own_message(file: Path) -> None:
    found = line_of(file, ("cells", "auto"), ("cpu", "auto"))
    assert found == "learn: name and device cannot both be auto."


def test_all_problems_are_reported_at_once(file: Path) -> None:
    found = line_of(file, ("1.0e-3", "fast"), ("0.95", "95"), ("flip: true", "flip: 0"))
    assert found.startswith("learn.learning_rate is 'fast';")
    assert (
        " | learn.flip is 0; it should be true or false. | learn.gate.min_accuracy is 95;" in found
    )


def test_a_long_value_is_cut(file: Path) -> None:
    found = line_of(file, ("cpu", "x" * 5000))
    assert len(found) < 150


@pytest.mark.parametrize("content", ["learn:", "learn: 5", "learn: [1, 2]", "learn: text"])
def test_a_section_without_settings_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidParams, match=r"^params\.yaml: learn is .* it should be settings: "):
        params.load(file, Params)


@pytest.mark.row("C05", "C10")
@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\nb: " + "9" * 5000, f"params.yaml: line 2: {'9' * 57}... is no number and no date"),
        ("learn: {a: 1, a: 2}", "params.yaml: line 1: a is written twice; keep one of them."),
        ("learn:\n  a: 1\nlearn: 2", "params.yaml: line 3: learn is written twice; keep one of "),
        ("a: &x {b: 1}\nc: *x", "params.yaml: line 2: *x is a reference; write the value out."),
        ("true: 1", "params.yaml: line 1: the key True is not text; put it in quotes."),
        ("? [a]\n: 1", "params.yaml: line 1: the key ['a'] is not text; put it in quotes."),
        ("{1: 2}", "params.yaml: line 1: the key 1 is not text; put it in quotes."),
    ],
)
def test_the_traps_of_yaml_are_refused(file: Path, content: str, line: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidParams) as refused:
        params.read_yaml(file)
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    "content",
    [
        b"learn:\n\tflip: true",  # a tab
        b"learn: [1, 2",
        b"learn: 'open",
        b"a: 1\n  b: 2",
        b"learn: \xff\xfe",
        b"\x00",
        b"a: !!python/object/apply:os.system [true]",
        b"<<: {a: 1}",
        b"a: *nowhere",
        b"[" * 3_000,
        b"a: 1\n---\nb: 2",
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidParams) as refused:
        params.read_yaml(file)
    assert str(refused.value).startswith(("params.yaml: ", f"{file}: is not valid YAML ("))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "# nothing\n", "text", "[1]", "5"])
def test_a_file_without_sections_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidParams, match="holds no sections"):
        params.read_yaml(file)


def test_a_mark_at_the_beginning_and_other_line_ends_do_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert params.load(file, Params).learn.name == "cells"


@pytest.mark.row("C05")
def test_a_huge_file_is_refused_unread(file: Path) -> None:
    file.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InvalidParams, match="larger than 1 MiB"):
        params.read_yaml(file)


def test_a_missing_file_says_where_to_run(file: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist; run from the project's root folder"):
        params.load(file, Params)


def test_check_reads_the_whole_file(file: Path) -> None:
    known: Mapping[str, type[BaseModel]] = {"learn": Learn}
    file.write_text(GOOD.replace("other: {}\n", ""))
    params.check(file, known)
    file.write_text(GOOD.replace("other:", "lern:").replace("0.95", "95"))
    with pytest.raises(InvalidParams) as refused:
        params.check(file, known)
    assert str(refused.value) == (
        "params.yaml: 2 mistakes\n"
        "  lern is not a section. Did you mean learn?\n"
        "  learn.gate.min_accuracy is 95; it should be a number from 0 to 1."
    )


class Rotating(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate_90: bool
    batch_size: int


class NearDuplicates(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_hamming_distance: int
    min_similarity: float


class Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    near_duplicates: NearDuplicates


@pytest.mark.parametrize(
    ("section", "kind", "content", "line"),
    [
        (
            "training",
            Rotating,
            "{any_way_up: true, batch_size: 8}",
            "training.any_way_up is now training.rotate_90; rename it.",
        ),
        (
            "training",
            Rotating,
            "{any_way_up: true}",
            (
                "2 mistakes\n  training.any_way_up is now training.rotate_90; rename it."
                "\n  training.batch_size is missing; add it."
            ),
        ),
        (
            "validate",
            Rules,
            "{near_duplicate_bits: 11, near_duplicate_likeness: 0.7}",
            (
                "2 mistakes\n  validate.near_duplicate_bits is now "
                "validate.near_duplicates.max_hamming_distance; rename it."
                "\n  validate.near_duplicate_likeness is now "
                "validate.near_duplicates.min_similarity; rename it."
            ),
        ),
        (
            "validate",
            Rules,
            "{near_duplicate_bits: 11, near_duplicates: {min_similarity: 0.7}}",
            (
                "validate.near_duplicate_bits is now "
                "validate.near_duplicates.max_hamming_distance; rename it."
            ),
        ),
    ],
)
def test_an_old_name_is_refused_with_the_new_one(
    file: Path, section: str, kind: type[BaseModel], content: str, line: str
) -> None:
    file.write_text(f"{section}: {content}")
    with pytest.raises(InvalidParams) as refused:
        params.check(file, {section: kind})
    assert str(refused.value) == f"params.yaml: {line}"


@pytest.mark.parametrize("name", ["progressive_resizing_start", "first_image_size"])
def test_a_removed_setting_is_refused_by_name_with_what_to_do(file: Path, name: str) -> None:
    file.write_text(f"training: {{rotate_90: true, batch_size: 8, {name}: 0.5}}")
    with pytest.raises(InvalidParams) as refused:
        params.check(file, {"training": Rotating})
    assert str(refused.value) == (
        f"params.yaml: training.{name} is gone, every epoch has images of model.image_size; "
        "remove the line."
    )


def test_no_removed_setting_is_known_to_a_step() -> None:
    for name in params.REMOVED:
        section, setting = name.split(".")
        assert setting not in SECTIONS[section].model_fields
        assert name not in {*params.RENAMED, *params.RENAMED.values()}


def test_an_old_name_that_is_a_setting_again_is_read(file: Path) -> None:
    class Again(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        warmup: float

    file.write_text("training: {warmup: 0.1}")
    params.check(file, {"training": Again})
    file.write_text("training: {warmup: 0.1, any_way_up: true}")
    with pytest.raises(InvalidParams, match=r"any_way_up is now training\.rotate_90; "):
        params.check(file, {"training": Again})


def test_no_new_name_is_an_old_one() -> None:
    assert not set(params.RENAMED) & set(params.RENAMED.values())
    assert len(set(params.RENAMED.values())) == len(params.RENAMED)


@pytest.mark.parametrize("step", STEPS)
def test_the_committed_settings_load_for_every_step(step: str) -> None:
    kind = importlib.import_module(f"components.{step}").Params
    loaded = params.load(COMMITTED, kind)
    assert set(params.sections(kind)) == set(vars(loaded))


def _settings(raw: object, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(raw, dict):
        return [place]
    inner = [name for key, value in raw.items() for name in _settings(value, (*place, key))]
    return [*([place] if len(place) > 1 else []), *inner]


@pytest.mark.row("C01")
def test_a_letter_lost_in_any_committed_setting_is_noticed(file: Path) -> None:
    raw = yaml.safe_load(COMMITTED.read_text())
    # Labels of nodes are the cluster's words, not ours.
    names = [path for path in _settings(raw) if "node_selector" not in path[:-1]]
    assert len(names) > 60
    for *outer, name in names:
        changed = yaml.safe_load(COMMITTED.read_text())
        inner = changed
        for part in outer:
            inner = inner[part]
        inner[name[:-1]] = inner.pop(name)
        file.write_text(yaml.safe_dump(changed))
        with pytest.raises(InvalidParams) as refused:
            params.check(file, SECTIONS)
        first, *mistakes = str(refused.value).split("\n  ")
        assert "\n" not in first
        place = ".".join(outer)
        assert any(place in line for line in mistakes or [first]), name
