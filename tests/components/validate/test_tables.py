"""The tables that rules are about, from files as the scan describes them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from components.core.data.decoding import DoubtRule
from components.core.data.files import ImageFile, ImageInfo, Scan
from components.core.data.fingerprints import FINGERPRINT, Fingerprints
from components.core.data.grouping import ScannedDataset, group_and_split
from components.core.data.splits import NOTHING_PINNED
from components.validate.expectations import run_expectations
from components.validate.messages import to_problems, to_results
from components.validate.rules import ValidateParams, suite
from components.validate.tables import to_manifest, to_tables
from tests.components.validate.test_messages import PARAMS


def image(path: str, **changes: object) -> ImageFile:
    """A used file with pixels of its own, unless `content` says which."""
    content = str(changes.pop("content", path)).encode().hex()
    info = ImageInfo(content, "", 9, 9, "RGB", "PNG", changes.pop("doubts", ()))  # type: ignore[arg-type]
    return ImageFile(path, path.split("/")[0], sha256=content, info=info)


def _no_fingerprints(sha256s: Sequence[str]) -> Fingerprints:
    return np.zeros(len(sha256s), FINGERPRINT)


def dataset(*files: ImageFile) -> ScannedDataset:
    params = PARAMS.model_copy(update={"near_duplicates": None})
    names = sorted({file.label for file in files})
    return group_and_split(Scan([*files], names, {}, _no_fingerprints), params, {}, NOTHING_PINNED)


@pytest.mark.parametrize("rule", ["value_range", "one_color"])
@pytest.mark.parametrize("tolerated", [False, True])
def test_a_doubt_of_the_decoder_is_a_rule_that_names_the_file(
    rule: DoubtRule, tolerated: bool
) -> None:
    doubted = image("cat/b.png", doubts=((rule, "uses 13 of 65,536 values"),))
    data = dataset(image("cat/a.png"), doubted, image("dog/c.png"))
    params = ValidateParams.model_validate(
        PARAMS.model_dump() | {"warning_rules": [rule] if tolerated else []}
    )
    rules = suite(params, ["PNG"])
    outcomes = run_expectations(to_tables(data), rules)
    found = {r.rule: r for r in to_results(rules, outcomes, params, data.class_names)}
    assert (found[rule].success, found[rule].files) == (False, ["cat/b.png"])
    assert found[rule].severity == ("warning" if tolerated else "critical")
    (other,) = {"value_range", "one_color"} - {rule}
    assert found[other].success
    problems = [(p.path, p.reason) for p in to_problems(data, outcomes) if p.rule == rule]
    assert problems == [("cat/b.png", "uses 13 of 65,536 values")]


def test_the_manifest_has_a_row_for_every_file_and_splits_where_they_belong() -> None:
    files = [image("cat/a.png"), image("cat/b.png", content="cat/a.png"), image("dog/c.png")]
    files.insert(2, ImageFile("cat/x", "cat").quarantined("non_regular_files", "a symbolic link"))
    data = dataset(*files)
    table = to_manifest(data, with_splits=True).set_index("path")
    assert table["status"].to_dict() == {
        "cat/a.png": "used", "cat/b.png": "ignored", "cat/x": "quarantined", "dog/c.png": "used",
    }  # fmt: skip
    group_of = {item.file.path: item.group for item in data.items}
    split_of = {item.file.path: item.split for item in data.items}
    for path, row in table.iterrows():
        assert row["group"] == group_of.get(str(path), "")
        assert row["split"] == split_of.get(str(path), "")
    assert set(to_manifest(data, with_splits=False)["split"]) == {""}


def test_an_empty_class_is_infinitely_smaller_than_the_largest() -> None:
    data = group_and_split(
        Scan([image("cat/a.png")], ["cat", "owl"], {}, _no_fingerprints),
        PARAMS.model_copy(update={"near_duplicates": None}), {}, NOTHING_PINNED,
    )  # fmt: skip
    classes = to_tables(data)["classes"].set_index("name")
    assert classes["imbalance"].to_dict() == {"cat": 1.0, "owl": math.inf}
