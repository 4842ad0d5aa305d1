"""The page that people decide by: every message on it, the right images, hostile names as text."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from components.core.data.data_diff import DataDiff, ShareShift
from components.core.evaluation.changes import Change, Kind
from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from components.io.reports.decision import decision_values, gallery
from components.io.reports.pages import render, to_uris
from components.io.reports.summary import summarize
from tests import factories
from tests.components.io.reports.conftest import run_files

NASTY = "<script>alert('1')</script> \"&amp;\" {{ 7 * 7 }} \u65e5\u672c"

NO_BASELINE = factories.data_diff()
GROWN = factories.data_diff(
    baseline="b" * 64,
    unchanged=1_200,
    added=7,
    removed=2,
    relabeled=1,
    largest_shift={"name": NASTY, "before": 0.25, "now": 0.305},
    examples={
        "added": [f"new/{k}.png" for k in range(5)],
        "removed": ["a.png", NASTY],
        "relabeled": ["c.png"],
        "moved": [],
    },
)

CHECKS = [
    factories.check("accuracy", "fail", value=0.73054, threshold=">= 0.800", message="too low"),
    factories.check("test-set reuse", "warn", value=12, threshold="<= 20", message="much used"),
    factories.check("leakage", value=0, threshold="0", message=f"none in {NASTY}"),
    factories.check(
        "latency", "skipped", value=None, threshold="no bound", message="no bound is set"
    ),
]


def record_of(
    verdict: str = "blocked", state: str = "compared", diff: DataDiff = GROWN, **changes: Any
) -> DecisionRecord:
    accuracy = {"value": 0.7521, "low": 0.728, "high": 0.7751, "num_images": 1_334}
    outcome = factories.outcome(
        verdict, first_model=state == "none", checks=CHECKS, accuracy=accuracy
    )
    reason = NASTY if state in ("other_classes", "unusable") else ""
    evidence = factories.evidence(
        class_names=["cat", NASTY],
        model_digest="1" * 64,
        data_digest="2" * 64,
        test_digest="3" * 64,
        predictions_sha256="4" * 64,
        evaluation_sha256="e" * 64,
        champion=factories.champion_evidence(
            state, model_digest="" if state == "none" else "c" * 64,
            predictions_sha256="", reason=reason,
        ),
    )  # fmt: skip
    values = {"outcome": outcome, "evidence": evidence, "data_diff": diff}
    return factories.decision_record(**values | changes)


def change(kind: Kind, number: int, confidence: float = 0.5) -> Change:
    return Change(kind, f"{kind[6]}/{number:02}.png", NASTY, "cat", NASTY, confidence)


TABLES = ("not_used.csv", "changes.csv")

MANY = [change("newly right", k, k / 100) for k in range(40)]
MANY += [change("newly wrong", k, k / 100) for k in range(40)]


def page(
    record: DecisionRecord | None = None,
    changes: list[Change] = MANY,
    thumbnails: dict[str, bytes] | None = None,
) -> str:
    record = record or record_of()
    images = {c.path: c.path.encode() for c in gallery(changes)}
    predictions = factories.predictions_of([[9, 1], [2, 8]], ["cat", NASTY])
    summary = summarize(record, predictions, changes)
    return render(
        "run.html",
        **decision_values(record, summary),
        files=run_files(),
        images=to_uris(images if thumbnails is None else thumbnails),
        data_changes={},
        lineage={},
        findings=[],
        **dict.fromkeys(("matrix", "curves", "trials", "sizes", "quarantine")),
        samples=[],
        one_size="",
        near=[],
        same=[],
        num_near=0,
        num_same=0,
    )


class Seen(HTMLParser):
    """What a person sees: text with single spaces, and where images come from."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.parts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())


def text(*arguments: Any, **keywords: Any) -> str:
    return Seen(page(*arguments, **keywords)).text


@pytest.mark.parametrize("state", ["none", "same", "compared", "other_classes", "unusable"])
@pytest.mark.parametrize("verdict", ["passed", "blocked", "error"])
def test_names_are_text_and_nothing_comes_from_outside(verdict: str, state: str) -> None:
    html = page(record_of(verdict, state))
    seen = Seen(html)
    assert "script" not in seen.tags
    assert f"none in {NASTY}" in seen.text
    assert all(
        link.startswith(("data:image/jpeg;base64,", "#")) or link in TABLES for link in seen.links
    )
    assert not re.search(r"https?:|url\(|@import", html)


def test_verdict_and_accuracy_with_its_interval_come_first() -> None:
    assert "<title>blocked: cells version 3</title>" in page()
    first = text().partition("What to do")[0]
    assert "blocked 0.752 accuracy on 1,334 test images (95 %: 0.728 to 0.775)" in first
    assert "2 of 4 checks failed or warn." in first
    assert "It is the first model" not in first
    assert "It is the first model" in text(record_of(state="none")).partition("What to do")[0]


@pytest.mark.parametrize(
    ("decided", "command"),
    [
        (record_of("blocked"), 'python -m pipeline approve 3 --reason "..."'),
        (record_of("passed"), "python -m pipeline status"),
        (record_of("error"), "dvc repro register"),
        (record_of("blocked", version=None), "dvc exp apply NAME"),
        (record_of("passed", version=None), "dvc exp apply NAME"),
    ],
)
def test_what_to_do_next_is_a_command(decided: DecisionRecord, command: str) -> None:
    to_do = text(decided).partition("What to do")[2].partition("Checks")[0]
    assert command in to_do
    assert ("pipeline approve" in to_do) == ("approve" in command)


def test_every_check_has_a_row_with_its_message_in_the_order_of_the_decision() -> None:
    table = text().partition("What to do")[2].partition("Checks")[2].partition("What the gate")[0]
    assert table.strip() == (
        "status check value threshold message"
        " \u2717 fail accuracy 0.731 >= 0.800 too low"
        " ! warn test-set reuse 12 <= 20 much used"
        f" \u2713 pass leakage 0 0 none in {NASTY}"
        " \u2013 skipped latency no bound no bound is set"
    )


def test_the_gallery_has_the_most_confident_24_newly_wrong_then_12_newly_right() -> None:
    shown = [c.path for c in gallery(MANY)]
    assert shown == [f"w/{k:02}.png" for k in range(39, 15, -1)] + [
        f"r/{k:02}.png" for k in range(39, 27, -1)
    ]
    assert re.findall(r'<div class="code soft">(.+?)</div>', page()) == shown
    uris = {c.path: c.path.encode() for c in gallery(MANY)}
    assert len([x for x in Seen(page(thumbnails=uris)).links if x.startswith("data:")]) == 36
    assert "24 of 40 are shown; all are in changes.csv" in text()
    assert "12 of 40 are shown; all are in changes.csv" in text()


def test_equally_confident_predictions_are_in_the_order_of_their_paths() -> None:
    same = [change("newly wrong", k) for k in (3, 1, 2)]
    assert [c.path for c in gallery(same)] == ["w/01.png", "w/02.png", "w/03.png"]


def test_each_image_stands_above_its_own_predictions() -> None:
    found = Change("newly wrong", "dog/1.png", "dog", "dog", "cat", 0.876)
    html = page(changes=[found], thumbnails={"dog/1.png": b"\xff\xd8jpeg"})
    assert [x for x in Seen(html).links if ":" in x] == ["data:image/jpeg;base64,/9hqcGVn"]
    assert "dog/1.png true dog champion \u2713 dog model \u2717 cat , 88 %" in Seen(html).text
    assert "0 newly right, 1 newly wrong" in Seen(html).text
    assert "are shown" not in Seen(html).text
    assert "Newly right" not in html
    found = found._replace(kind="newly right", champion="cat", model="dog")
    assert "champion \u2717 cat model \u2713 dog , 88 %" in text(changes=[found])


def test_an_image_that_cannot_be_read_leaves_its_words() -> None:
    html = page(changes=MANY[:1], thumbnails={})
    assert not [x for x in Seen(html).links if ":" in x]
    assert "not shown r/00.png true" in Seen(html).text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("none", "There is no champion yet"),
        ("same", "This model is the champion"),
        ("other_classes", f"no comparison is possible: {NASTY}"),
        ("unusable", f"cannot be used for a comparison: {NASTY}"),
    ],
)
def test_why_nothing_was_compared_is_stated(state: str, words: str) -> None:
    found = text(record_of(state=state), changes=[]).partition("Against the champion")[2]
    found = found.partition("Lineage")[0]
    assert words in found
    assert "newly" not in found


@pytest.mark.row("D34")
def test_how_the_data_differ_is_shown_with_examples() -> None:
    found = text().partition("Data since the champion's")[2].partition(" Data ")[0].strip()
    assert found == (
        "1,200 images unchanged, whatever the files are called. Largest change of a class: "
        f"{NASTY} was 25.0% of the images, is 30.5%. change images examples "
        "added 7 new/0.png new/1.png new/2.png new/3.png new/4.png and 2 more "
        f"removed 2 a.png {NASTY} relabeled 1 c.png moved between splits 0"
    )


def test_equal_shares_are_no_shift() -> None:
    same = GROWN.model_copy(update={"largest_shift": ShareShift(name="a", before=0.5, now=0.5)})
    assert "No class's share of the images changed." in text(record_of(diff=same))


def test_a_missing_baseline_is_stated_in_words() -> None:
    found = text(record_of(diff=NO_BASELINE))
    assert "No baseline: there are no champion's data to compare with." in found
    assert "unchanged" not in found


def test_all_settings_of_the_gate_are_listed_with_their_values() -> None:
    table = text().partition("What the gate requires")[2].partition("Weak spots")[0]
    assert all(name in table for name in GatePolicy.model_fields)
    assert "confidence_level 0.95 Two-sided" in table
    assert "max_ece no bound Expected calibration error (ECE)." in table
    assert "champion_test non_inferior" in table


def test_digests_are_in_the_footer_and_absent_ones_are_left_out() -> None:
    footer = page().partition("<footer>")[2]
    assert re.findall(r"<code>(.)\1{63}</code>", footer) == list("123e4cb")
    alone = page(record_of(state="none", diff=NO_BASELINE)).partition("<footer>")[2]
    assert "champion" not in alone


def test_equal_arguments_give_equal_bytes() -> None:
    assert page() == page(changes=list(reversed(MANY)))
