"""The settings refuse what makes no sense, and every rule can be named by its setting."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from components.core.errors import InvalidParams
from components.io.params import load
from components.validate import Params
from components.validate.rules import RuleName, ValidateParams, suite

GOOD: dict[str, object] = {
    "exclude": [],
    "group_pattern": None,
    "near_duplicates": None,
    "split": {"train": 0.7, "val": 0.15, "test": 0.15},
    "split_seed": 0,
    "min_images": 10,
    "min_images_per_class": 3,
    "min_side": 8,
    "max_side": 1000,
    "max_aspect_ratio": 5.0,
    "max_unreadable": 0.0,
    "max_imbalance": 10.0,
    "max_group_share": 0.5,
    "warning_rules": [],
}
ROOT = Path(__file__).parents[3]


def test_the_committed_settings_are_valid() -> None:
    assert load(ROOT / "params.yaml", Params).validate.min_images >= 1


@pytest.mark.row("C04")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("split", {"train": 0.7, "val": 0.2, "test": 0.2}, "sum to 1"),
        ("split", {"train": 0.5, "val": 0.5}, "sum to 1"),
        ("split", {"train": 1.0, "val": 0.0, "test": 0.0}, "less than 1|greater than 0"),
        ("split", {"train": 0.7, "val": 0.15, "tset": 0.15}, "'train', 'val' or 'test'"),
        ("group_pattern", "(", "a regular expression"),
        ("min_images", 0, "greater than or equal to 1"),
        ("max_unreadable", 95, "less than 1"),
        ("max_aspect_ratio", 0.5, "greater than or equal to 1"),
        ("near_duplicates", {"max_hamming_distance": 17, "min_similarity": 0.7}, "equal to 16"),
        ("near_duplicates", {"max_hamming_distance": 11, "min_similarity": 0.0}, "greater than 0"),
        ("near_duplicates", {"max_hamming_distance": 11}, "Field required"),
        ("max_group_share", 20, "less than or equal to 1"),
        ("warning_rules", ["min_classes"], "Input should be"),
        ("warning_rules", ["pinned_split_conflicts"], "Input should be"),
        ("warning_rules", ["typo"], "Input should be"),
        ("min_imagse", 3, "Extra inputs"),
    ],
)
def test_impossible_settings_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ValidateParams.model_validate(GOOD | {name: value})


def test_shares_sum_to_one_within_rounding() -> None:
    ValidateParams.model_validate(GOOD | {"split": {"train": 0.8, "val": 0.1, "test": 0.1}})
    thirds = {"train": 1 / 3, "val": 1 / 3, "test": 1 / 3}
    assert ValidateParams.model_validate(GOOD | {"split": thirds}).split == thirds


def test_a_wrong_setting_is_one_line_with_the_place(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("train: 0.7", "train: 0.9")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InvalidParams, match=r"validate\.split is .* should be shares of train"):
        load(tmp_path / "params.yaml", Params)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_hamming_distance: 11", "max_hamming_distance: 40", "is 40; .* number from 4 to 16"),
        ("max_hamming_distance: 11", "max_hamming: 11", "Did you mean .*max_hamming_distance"),
        ("    min_similarity: 0.65", "    # min_similarity: 0.65", "min_similarity is missing"),
    ],
)
def test_a_wrong_setting_of_near_duplicates_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(InvalidParams, match=rf"validate\.near_duplicates\..*{message}"):
        load(tmp_path / "params.yaml", Params)


def test_every_rule_is_in_the_suite_once() -> None:
    names = [rule.name for rule in suite(ValidateParams.model_validate(GOOD), ["PNG"])]
    declared = {name for part in get_args(RuleName) for name in get_args(part)}
    assert sorted(names) == sorted(declared)
