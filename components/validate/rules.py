"""The rules of the data set: their settings, what each expects of which table, and its words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from components.core.artifacts import SPLITS, Split
from components.core.data.decoding import Format

Table = Literal["files", "used", "classes"]

Tolerable = Literal[
    "non_regular_files",
    "names",
    "unlabeled_files",
    "formats",
    "max_unreadable",
    "class_names",
    "label_conflicts",
    "split_leakage",
    "min_images",
    "min_images_per_class",
    "min_side",
    "max_side",
    "max_aspect_ratio",
    "max_imbalance",
    "max_group_share",
]
# Without two classes, each of them in every split, there is nothing to learn or to measure; a group
# that is pinned to two splits has no split.
RuleName = Tolerable | Literal["min_classes", "class_missing_from_split", "pinned_split_conflicts"]


def _three_shares(shares: dict[Split, float]) -> dict[Split, float]:
    if set(shares) != set(SPLITS) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("shares of train, val and test that sum to 1")
    return shares


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return pattern


class ValidateParams(BaseModel):
    """The section `validate` of params.yaml. Both ends of every bound are allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclude: list[str] = Field(description="Glob patterns of paths to leave out.")
    group_pattern: Annotated[str, AfterValidator(_compiles)] | None
    near_duplicate_bits: Annotated[int, Field(ge=4, le=16)] | None = Field(
        description="Of 64 in which the hashes of look-alikes may differ; null: look for none."
    )
    near_duplicate_likeness: float = Field(
        gt=0, le=1, description="Least correlation of the sketches of look-alikes."
    )
    split: Annotated[
        dict[Split, Annotated[float, Field(gt=0, lt=1)]], AfterValidator(_three_shares)
    ]
    split_seed: int
    min_images: int = Field(ge=1)
    min_images_per_class: int = Field(ge=1)
    min_side: int = Field(ge=1, description="ImageArray.")
    max_side: int = Field(ge=1, description="ImageArray.")
    max_aspect_ratio: float = Field(ge=1, description="Longer side / shorter side.")
    max_unreadable: float = Field(ge=0, lt=1, description="Share of all files.")
    max_imbalance: float = Field(ge=1, description="Largest class / smallest class.")
    max_group_share: float = Field(gt=0, le=1, description="Largest group of a class / the class.")
    warning_rules: list[Tolerable] = Field(description="Rules that report but do not block.")


@dataclass(frozen=True)
class Rule:
    """One expectation about one table.

    Attributes:
        expectation: name of a class of Great Expectations.
        arguments: of that class; a rule about rows names its `column`.
        wanted: what would be right.
        reason: what is wrong with an offending row; {} is the value in the column.
    """

    name: RuleName
    table: Table
    expectation: str
    arguments: Mapping[str, object]
    wanted: str
    reason: str = "{}"


def suite(params: ValidateParams, formats: Sequence[Format]) -> list[Rule]:
    """All rules, root causes first: the first that fails is the one to mend first."""
    return [*_about_files(params, formats), *_about_classes(params), *_about_shapes(params)]


def _about_files(params: ValidateParams, formats: Sequence[Format]) -> list[Rule]:
    share = params.max_unreadable
    known = {"column": "format", "value_set": [*formats, ""]}
    return [
        _clean("non_regular_files", "files", "regular files; copy in what links point to"),
        _clean("names", "files", "printable names that differ by more than case or encoding"),
        _clean("unlabeled_files", "files", "every picture in a class folder"),
        Rule(
            "formats",
            "files",
            "ExpectColumnValuesToBeInSet",
            known,
            f"only {', '.join(formats)}, as in data.formats",
            "is {}",
        ),
        _clean("max_unreadable", "files", f"at most {100 * share:g}% unreadable", mostly=1 - share),
        _clean("label_conflicts", "files", "one label for equal pixels; remove the wrong ones"),
        _clean(
            "split_leakage", "files", "look-alikes and groups in one split only; remove one side"
        ),
        _clean(
            "pinned_split_conflicts",
            "files",
            "groups pinned to one split; remove the image, or one side's lines in the ledger",
        ),
    ]


def _about_classes(params: ValidateParams) -> list[Rule]:
    few, share = params.min_images_per_class, params.max_group_share
    thrice = "every class in train, val and test; that takes 3 unlike images"
    return [
        _clean("class_names", "classes", "one plainly named folder per class"),
        _rows("min_images", "used", params.min_images, "images in class folders"),
        _rows("min_classes", "classes", 2, "class folders"),
        _between(
            "min_images_per_class",
            "classes",
            "images",
            f"at least {few:,} of every class",
            "{:,} images",
            min_value=few,
        ),
        _between(
            "class_missing_from_split",
            "classes",
            "splits",
            thrice,
            "is in {} of 3 splits",
            min_value=3,
        ),
        _between(
            "max_imbalance",
            "classes",
            "imbalance",
            f"a largest class of at most {params.max_imbalance:g} times the smallest",
            "the largest class is {:.1f} times as large",
            max_value=params.max_imbalance,
        ),
        _between(
            "max_group_share",
            "classes",
            "group_share",
            f"groups of at most {100 * share:g}% of a class; are the look-alikes real?",
            "the largest group is {:.0%} of it",
            max_value=share,
        ),
    ]


def _about_shapes(params: ValidateParams) -> list[Rule]:
    least, most, aspect = params.min_side, params.max_side, params.max_aspect_ratio
    low, high = f"sides of at least {least:,} px", f"sides of at most {most:,} px"
    long = f"sides of at most {aspect:g} : 1"
    return [
        _between("min_side", "used", "shorter", low, "shorter side {:,} px", min_value=least),
        _between("max_side", "used", "longer", high, "longer side {:,} px", max_value=most),
        _between(
            "max_aspect_ratio", "used", "aspect", long, "sides are {:.1f} : 1", max_value=aspect
        ),
    ]


def _clean(name: RuleName, table: Table, wanted: str, **arguments: object) -> Rule:
    """The column of the rule's own name holds what was found wrong; it should be empty."""
    column = {"column": name, "value_set": [""]}
    return Rule(name, table, "ExpectColumnValuesToBeInSet", {**column, **arguments}, wanted)


def _rows(name: RuleName, table: Table, least: int, noun: str) -> Rule:
    arguments = {"min_value": least}
    wanted = f"at least {least:,} {noun}"
    return Rule(name, table, "ExpectTableRowCountToBeBetween", arguments, wanted)


def _between(
    name: RuleName, table: Table, column: str, wanted: str, reason: str, **bounds: float
) -> Rule:
    arguments = {"column": column, **bounds}
    return Rule(name, table, "ExpectColumnValuesToBeBetween", arguments, wanted, reason)
