"""The rules of the data set: their settings, what each expects of which table, and its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from components.core.data.decoding import Format
from components.core.data.grouping import GroupingParams
from components.core.data.headers import WRONG, SideLimits, SideRule
from components.core.phrases import count

Table = Literal["files", "used", "sides", "classes"]

WarnableRule = Literal[
    "non_regular_files",
    "invalid_names",
    "unlabeled_files",
    "formats",
    "max_unreadable",
    "class_level",
    "class_names",
    "label_conflicts",
    "near_duplicate_label_conflicts",
    "value_range",
    "one_color",
    "split_leakage",
    "min_images",
    "min_images_per_class",
    "min_side",
    "max_side",
    "max_aspect_ratio",
    "max_imbalance",
    "max_group_share",
]
# The others always block. Without two classes, each of them in every split, there is nothing to
# learn or to measure; a group that is pinned to two splits has no split.
RuleName = (
    WarnableRule | Literal["min_classes", "class_missing_from_split", "pinned_split_conflicts"]
)


class ValidateParams(GroupingParams):
    """The section `validate` of params.yaml. Both ends of every bound are allowed."""

    exclude: list[str] = Field(
        description="Glob patterns of paths to leave out, relative to the image folder; * also "
        "matches slashes."
    )
    min_images: int = Field(ge=1, description="Least number of images in all classes together.")
    min_images_per_class: int = Field(ge=1, description="Least number of images of every class.")
    min_side: int = Field(ge=1, description="Least side of an image, pixels.")
    max_side: int = Field(ge=1, description="Largest side of an image, pixels.")
    max_aspect_ratio: float = Field(ge=1, description="Longer side / shorter side.")
    max_unreadable: float = Field(
        ge=0, lt=1, description="Share of all files that may be unreadable; they are quarantined."
    )
    max_imbalance: float = Field(ge=1, description="Largest class / smallest class.")
    max_group_share: float = Field(gt=0, le=1, description="Largest group of a class / the class.")
    warning_rules: list[WarnableRule] = Field(
        description="Rules of severity warning: they report a problem, but do not block."
    )

    @property
    def side_limits(self) -> SideLimits:
        """By the rules about sides that block: beyond them, nobody needs an image's pixels."""
        rules = [rule for rule in get_args(SideRule) if rule not in self.warning_rules]
        return SideLimits(**{rule: getattr(self, rule) for rule in rules})


@dataclass(frozen=True)
class Rule:
    """One expectation about one table.

    Attributes:
        expectation: name of a class of Great Expectations.
        arguments: of that class; a rule about rows names its `column`.
        expected: what would pass, for people.
        reason: from the value in the column, what is wrong with an unexpected row.
    """

    name: RuleName
    table: Table
    expectation: str
    arguments: Mapping[str, object]
    expected: str
    reason: Callable[..., str] = str


def suite(params: ValidateParams, formats: Sequence[Format]) -> list[Rule]:
    """All rules, root causes first: the first that fails is the one to fix first."""
    class_level = _clean(
        "class_level",
        "classes",
        "classes at the top, or in folders train, val and test; if they are classes, list "
        "class_level in validate.warning_rules",
    )
    return [
        class_level,
        *_about_files(),
        *_about_images(params, formats),
        *_about_sides(params),
        *_about_classes(params),
    ]


def _about_files() -> list[Rule]:
    return [
        _clean(
            "non_regular_files",
            "files",
            "regular files; replace links with copies of their targets",
        ),
        _clean(
            "invalid_names",
            "files",
            "printable names that differ by more than case, encoding and what cannot be seen",
        ),
        _clean(
            "unlabeled_files",
            "files",
            "every file in a class folder; move others elsewhere, or name them in validate.exclude",
        ),
    ]


def _about_images(params: ValidateParams, formats: Sequence[Format]) -> list[Rule]:
    share = params.max_unreadable
    known = {"column": "format", "value_set": [*formats, ""]}
    return [
        Rule(
            "formats",
            "files",
            "ExpectColumnValuesToBeInSet",
            known,
            f"only {', '.join(formats)}, as in data.formats",
            "is {}".format,
        ),
        _clean("max_unreadable", "files", f"at most {100 * share:g}% unreadable", mostly=1 - share),
        _clean("value_range", "files", "pixels that use the range of values of their type"),
        _clean(
            "one_color", "files", "more than one color; of transparent images see data.background"
        ),
        _clean("label_conflicts", "files", "one label for equal pixels; remove the wrong ones"),
        _clean(
            "near_duplicate_label_conflicts",
            "files",
            "one label for near duplicates; look at both, remove or move the wrong one",
        ),
        _clean(
            "split_leakage",
            "files",
            "near duplicates and groups in one split only; remove one side",
        ),
        _clean(
            "pinned_split_conflicts",
            "files",
            "groups pinned to one split; remove the image, or the pinned splits of one side",
        ),
    ]


def _about_classes(params: ValidateParams) -> list[Rule]:
    few, share = params.min_images_per_class, params.max_group_share
    three = "every class in train, val and test; that takes at least 3 groups of images"
    return [
        _clean("class_names", "classes", "one plainly named folder per class"),
        _rows("min_classes", "classes", 2, "class folders"),
        _rows("min_images", "used", params.min_images, "images in class folders"),
        _between(
            "min_images_per_class",
            "classes",
            "images",
            f"at least {few:,} of every class",
            lambda images: count(images, "image"),
            min_value=few,
        ),
        _clean("class_missing_from_split", "classes", three),
        _between(
            "max_imbalance",
            "classes",
            "imbalance",
            f"a largest class of at most {params.max_imbalance:g} times the smallest",
            _imbalance,
            max_value=params.max_imbalance,
        ),
        _between(
            "max_group_share",
            "classes",
            "group_share",
            f"groups of at most {100 * share:g}% of a class; if near duplicates are different "
            "images, raise validate.near_duplicates.min_similarity",
            "the largest group is {:.0%} of it".format,
            max_value=share,
        ),
    ]


def _about_sides(params: ValidateParams) -> list[Rule]:
    least, most, ratio = params.min_side, params.max_side, params.max_aspect_ratio
    low, high = f"sides of at least {least:,} px", f"sides of at most {most:,} px"
    long = f"sides of at most {ratio:g} : 1"
    return [
        _between("min_side", "sides", "shorter", low, WRONG["min_side"], min_value=least),
        _between("max_side", "sides", "longer", high, WRONG["max_side"], max_value=most),
        _between(
            "max_aspect_ratio",
            "sides",
            "aspect",
            long,
            WRONG["max_aspect_ratio"],
            max_value=ratio,
        ),
    ]


def _clean(name: RuleName, table: Table, expected: str, **arguments: object) -> Rule:
    """The column named like the rule holds what is wrong with each row; it should be empty."""
    column = {"column": name, "value_set": [""]}
    return Rule(name, table, "ExpectColumnValuesToBeInSet", {**column, **arguments}, expected)


def _rows(name: RuleName, table: Table, least: int, noun: str) -> Rule:
    arguments = {"min_value": least}
    expected = f"at least {least:,} {noun}"
    return Rule(name, table, "ExpectTableRowCountToBeBetween", arguments, expected)


def _between(
    name: RuleName,
    table: Table,
    column: str,
    expected: str,
    reason: Callable[..., str],
    **bounds: float,
) -> Rule:
    arguments = {"column": column, **bounds}
    return Rule(name, table, "ExpectColumnValuesToBeBetween", arguments, expected, reason)


def _imbalance(ratio: float) -> str:
    return "is empty" if math.isinf(ratio) else f"the largest class is {ratio:.1f} times as large"
