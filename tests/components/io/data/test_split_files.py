"""The tables beside the images: read strictly, refused in one line, written back the same."""

from pathlib import Path

import pytest

from components.core.errors import InvalidData, MissingInput
from components.io.data.split_files import (
    PinnedSplit,
    read_groups,
    read_pinned_splits,
    write_pinned_splits,
)

A, B, C = "a" * 64, "b" * 64, "0c" * 32
PINNED = "pixel_sha256,split,path\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_header_lines_alone_say_nothing(table: Path) -> None:
    table.write_text("path,group\n")
    assert read_groups(table, []) == {}
    table.write_text(PINNED)
    assert read_pinned_splits(table) == {}


def test_groups_are_read_by_path(table: Path) -> None:
    table.write_text('path,group\ncat/1.png,g\n\n"dog/a, b.png",g h\n')
    found = read_groups(table, {"cat/1.png", "dog/a, b.png", "dog/2.png"})
    assert found == {"cat/1.png": "g", "dog/a, b.png": "g h"}


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfpath,group\r\na,g\r\n", b"path,group\na,g"])
def test_what_office_programs_write_is_read(table: Path, content: bytes) -> None:
    table.write_bytes(content)
    assert read_groups(table, ["a"]) == {"a": "g"}


def test_pinned_splits_come_back_as_written_and_sorted_by_path(table: Path) -> None:
    pinned = {
        B: PinnedSplit("test", 'z "q", 1.png'),
        A: PinnedSplit("train", "y\u00e9.png"),
        C: PinnedSplit("val", "z"),
    }
    write_pinned_splits(table, pinned)
    assert read_pinned_splits(table) == pinned
    assert [line.rpartition(",")[2] for line in table.read_text().splitlines()[1:2]] == [
        "y\u00e9.png"
    ]
    first = table.read_bytes()
    write_pinned_splits(table, dict(reversed(pinned.items())))
    assert table.read_bytes() == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "begins with ''; its first line must be path,group"),
        ("path;group\n", "begins with 'path;group'; its first line must be path,group"),
        ("group,path\n", "its first line must be path,group"),
        ("path,group\na\n", "line 2: is not of the form path,group"),
        ("path,group\na,g,h\n", "line 2: is not of the form path,group"),
        ("path,group\na,\n", "line 2: is not of the form path,group"),
        ("path,group\na,g\nb,g\na,h\n", "line 4: a is listed twice"),
        ("path,group\nimages/a,g\n", "line 2: images/a is not in the image folder"),
        ('path,group\n"a"b,g\n', "is not CSV in UTF-8"),
        ("path,group\n\udcff,g\n", "is not CSV in UTF-8"),
    ],
)
def test_a_broken_table_of_groups_is_one_line(table: Path, content: str, message: str) -> None:
    table.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidData) as refused:
        read_groups(table, ["a", "b"])
    assert str(refused.value).startswith(str(table))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{A},training,x.png", "line 2: 'training' is not a split; write train, val or test"),
        (f"{A},Train,x.png", "'Train' is not a split"),
        (f"{A[1:]},train,x.png", "is not a pixel digest of 64 hex digits"),
        (f"{A[1:]}G,train,x.png", "is not a pixel digest of 64 hex digits"),
        (f"{A.upper()},train,x.png", "is not a pixel digest of 64 hex digits"),
        (f"{A},train,x.png\n{A},train,x.png", "line 3: pins x.png a second time"),
        (f"{A},train,x.png\n{A},test,y.png", "line 3: pins y.png a second time"),
        (f"{A},train", "line 2: is not of the form pixel_sha256,split,path"),
    ],
)
def test_a_broken_table_of_pinned_splits_is_one_line(table: Path, line: str, message: str) -> None:
    table.write_text(f"{PINNED}{line}\n")
    with pytest.raises(InvalidData) as refused:
        read_pinned_splits(table)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_table_names_the_line_to_write(table: Path) -> None:
    with pytest.raises(MissingInput, match=r"with the header line alone: path,group$"):
        read_groups(table, [])
    with pytest.raises(MissingInput, match=r"with the header line alone: pixel_sha256,split,path$"):
        read_pinned_splits(table)


COMPOSED, DECOMPOSED = "caf\u00e9/1.png", "cafe\u0301/1.png"


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("\ub0b4/1.png", "\u1102\u1162/1.png"),
        ("\u304c.png", "\u304b\u3099.png"),
    ],
)
def test_a_listed_path_matches_however_accents_are_composed(
    table: Path, listed: str, known: str
) -> None:
    table.write_text(f"path,group\n{listed},g\n", encoding="utf-8")
    assert read_groups(table, {known, "b.png"}) == {known: "g"}


@pytest.mark.parametrize("listed", [COMPOSED, DECOMPOSED])
def test_a_listed_path_that_may_be_two_files_is_refused(table: Path, listed: str) -> None:
    table.write_text(f"path,group\n{listed},g\n", encoding="utf-8")
    with pytest.raises(InvalidData) as caught:
        read_groups(table, {COMPOSED, DECOMPOSED})
    assert "line 2" in str(caught.value)
    assert "2 times, which differ by how accents are composed" in str(caught.value)
    assert r"'cafe\u0301/1.png' and 'caf\xe9/1.png'" in str(caught.value)


def test_two_spellings_of_one_path_are_listed_twice(table: Path) -> None:
    table.write_text(f"path,group\n{COMPOSED},g\n{DECOMPOSED},g\n", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"line 3: .* is listed twice"):
        read_groups(table, {DECOMPOSED})
