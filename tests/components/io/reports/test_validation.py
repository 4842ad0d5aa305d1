"""The page carries everything inside itself and shows hostile names as text."""

import re
from html.parser import HTMLParser

import pytest

from components.core.artifacts import RuleResult, ValidationReport
from components.io.reports.validation import ClassSamples, GroupStrip, Problem, validation_page
from tests import factories

NASTY = "<script>alert('1')</script> \"&amp;\" \u65e5\u672c\u8a9e"


def rule(name: str, success: bool, severity: str = "critical") -> RuleResult:
    values = {"rule": name, "severity": severity, "success": success, "observed": NASTY}
    return RuleResult.model_validate(values | {"expected": "e", "files": []})


def report(success: bool) -> ValidationReport:
    return factories.validation_report(
        success=success,
        data_digest="d" * 64,
        class_names=[NASTY, "dog"],
        used=1_990,
        counts={
            NASTY: {"train": 1_400, "val": 90, "test": 0},
            "dog": {"train": 300, "val": 100, "test": 100},
        },
        near_duplicates=7,
        groups=900,
        largest_group=4,
        rules=[
            rule("fine", True),
            rule("aspect", False, "warning"),
            rule("invalid_names", success),
        ],
    )


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(success: bool, count: int = 2) -> str:
    problems = [Problem(f"{NASTY}/{k}", NASTY, "invalid_names") for k in range(count)]
    return validation_page(report(success), problems, [], {f"{NASTY}/0": b"\xff\xd8jpeg"})


@pytest.mark.parametrize("success", [True, False])
def test_names_are_text_and_nothing_comes_from_outside(success: bool) -> None:
    tags = Tags(page(success))
    assert "script" not in tags.tags
    assert any(NASTY in text for text in tags.text)
    assert tags.links == ["data:image/jpeg;base64,/9hqcGVn"]
    assert not re.search(r"https?:|url\(|@import", page(success))


def test_the_verdict_comes_first_in_words() -> None:
    assert "Data set: passed" in page(True)
    assert "1,990 images of 2 classes can be used, with 1 warning." in page(True)
    assert "Data set: failed" in page(False)
    assert "1 of 3 rules failed. First: <code>invalid_names</code>" in page(False)


def test_failed_rules_come_before_warnings_and_passes() -> None:
    rows = re.findall(r'<td class="rule"><code>(\w+)</code></td><td class="line" data', page(False))
    assert rows[:3] == ["invalid_names", "aspect", "fine"]


def test_bars_are_as_wide_as_the_classes_are_large() -> None:
    assert re.findall(r'class="bar" style="width: ([\d.]+)%"', page(True)) == ["100.0", "33.6"]
    assert re.findall(r'style="flex: (\d+)"', page(True)) == [
        "1400", "90", "0", "300", "100", "100",
    ]  # fmt: skip


def test_groups_near_duplicates_and_pinned_images_are_counted() -> None:
    text = " ".join(page(True).split())
    assert "900 groups of images that stay in one split, the largest of 4;" in text
    assert "7 images have near duplicates;" in text
    assert "0 pinned to their split" in text
    one = report(True).model_copy(update={"groups": 1, "near_duplicates": 1, "pinned": 1})
    text = " ".join(validation_page(one, [], [], {}).split())
    assert "1 group of images that stay in one split, the largest of 4;" in text
    assert "1 image has near duplicates;" in text
    assert "1 pinned to its split" in text


def test_a_failed_data_set_shows_no_splits() -> None:
    assert '<th class="number">train</th>' in page(True)
    assert "train</th>" not in page(False)


def test_the_page_stays_small_with_many_problems() -> None:
    assert "The first 200 of 5,000; all of them are in" in page(False, 5_000)
    assert "<summary>4,980 more</summary>" in page(False, 5_000)
    assert len(page(False, 5_000)) < 150_000


def test_a_data_set_without_classes_has_a_page() -> None:
    empty = report(False).model_copy(update={"counts": {}, "class_names": []})
    assert "no class folder found" in validation_page(empty, [], [], {})


def test_the_largest_groups_are_strips_of_images_with_their_classes() -> None:
    shown = [(f"{NASTY}/{k}.png", NASTY) for k in range(2)]
    strip = GroupStrip({NASTY: 30, "owl": 1}, shown)
    thumbnails = {path: b"\xff\xd8jpeg" for path, _ in shown}
    tags = Tags(validation_page(report(True), [], [strip], thumbnails))
    text = " ".join(" ".join(tags.text).split())
    assert f"31 images : 30 {NASTY}, 1 owl; 2 of them:" in text
    assert [link[:15] for link in tags.links] == ["near_duplicates", *["data:image/jpeg"] * 2]
    assert tags.tags.count("figcaption") == 2
    assert "Near duplicates" not in page(True)


def test_images_of_the_first_classes_are_shown_and_the_rest_is_counted() -> None:
    paths = [f"{NASTY}/{k}.png" for k in range(2)]
    jpegs = dict.fromkeys(paths, b"\xff\xd8jpeg")
    tags = Tags(validation_page(report(True), [], [], jpegs, [ClassSamples(NASTY, 1_490, paths)]))
    text = " ".join(" ".join(tags.text).split())
    assert f"{NASTY} , 2 of 1,490, evenly over their names and 1 more class" in text
    assert [link[:15] for link in tags.links] == ["data:image/jpeg"] * 2
    assert "script" not in tags.tags
    assert "<h2>Images</h2>" not in page(True)


def test_the_digest_is_in_the_footer() -> None:
    assert "d" * 64 in page(True).partition("<footer>")[2]
