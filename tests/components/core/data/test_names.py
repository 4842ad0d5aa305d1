"""Names that are no data, names that cannot be seen, names that are hardly two."""

import pytest

from components.core.data.names import difference, folded, invisible, is_ignored


@pytest.mark.parametrize(
    "path",
    [
        "#recycle/good/0.png",
        "@Recycle/0.png",
        "@Recently-Snapshot/0.png",
        "#snapshot/x/0.png",
        "~snapshot/0.png",
        ".snapshot/0.png",
        ".Trash-1000/files/0.png",
        "$RECYCLE.BIN/S-1-5-21/0.png",
        "RECYCLER/0.png",
        "RECYCLED/0.png",
        "System Volume Information/x",
        "found.000/file0000.chk",
        "lost+found/#123",
        "cat/@eaDir/0.png",
        "@tmp/0.png",
        "Network Trash Folder/0.png",
        "Temporary Items/0.png",
        "__MACOSX/cat/0.png",
        ".AppleDouble/0.png",
        ".ipynb_checkpoints/0.png",
        "cat/THUMBS.DB",
        "cat/ehthumbs_vista.db",
        "cat/Icon\r",
        "cat/~$notes.docx",
        "cat/0.png:Zone.Identifier",
        "cat/0.png\uf03aZone.Identifier",
        "cat/0.png:Zone.Identifier:$DATA",
        "cat/Thumbs.db:encryptable",
        "cat/0.jpg:com.apple.quarantine",
        "cat/._0.jpg",
        "cat/.nfs0000001",
        "cat/.fuse_hidden0001",
        "cat/SYNO_0.png@SynoResource",
        "cat/0.png@SynoEAStream",
        "images.dvc",
    ],
)
def test_what_systems_and_storage_boxes_leave_is_ignored(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        "recycled/0.png",
        "Recycler/0.png",
        "trash/0.png",
        "icons/0.png",
        "snapshot/0.png",
        "foundry/0.png",
        "cat/10:30.png",
        "cat/0.png.part",
        "cat/0.tmp",
        "#1/0.png",
        "@home/0.png",
        "tmp/0.png",
    ],
)
def test_what_may_be_data_is_not(path: str) -> None:
    assert not is_ignored(path)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("cat\u200b", "U+200B (zero width space)"),
        ("\ufeffcat", "U+FEFF (zero width no-break space)"),
        ("great\u00a0dane", "U+00A0 (no-break space)"),
        ("so\u00adft", "U+00AD (soft hyphen)"),
        ("ca\u200b\u200bt", "U+200B (zero width space)"),
        ("cat\u200e", "U+200E (left-to-right mark)"),
        ("cat\ufe0f", "U+FE0F (variation selector-16)"),
        ("x \u202ey", "U+202E (right-to-left override)"),
        ("caf\u00e9\u00a0", "U+00A0 (no-break space)"),
        ("\u3000\u732b", "U+3000 (ideographic space)"),
        ("cat\u3164", "U+3164 (hangul filler)"),
        ("\u200b", "U+200B (zero width space)"),
    ],
)
def test_a_character_that_cannot_be_seen_is_named(name: str, named: str) -> None:
    assert invisible(name) == named


@pytest.mark.parametrize(
    "name",
    [
        "great dane",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a joiner between letters
        "\u0d28\u0d4d\u200d",  # Malayalam: a chillu, spelled with a joiner at its end
        "\u2764\ufe0f",  # a red heart
        "1\ufe0f\u20e3",  # a keycap
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "\u200f\u0642\u0637\u0629",  # Arabic with a mark of direction
        "\u9ed2\u3000\u732b",  # Japanese with the script's own space
        "\u0e41\u0e21\u0e27\u200b\u0e14\u0e33",  # Thai: a place to break the line
    ],
)
def test_the_spelling_of_many_scripts_and_of_emoji_is_no_fault(name: str) -> None:
    assert invisible(name) == ""


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Cat", "cat", "case"),
        ("STRASSE", "stra\u00dfe", "case"),
        ("caf\u00e9", "cafe\u0301", "how accents are composed"),
        ("cat", "cat\u200b", "U+200B (zero width space)"),
        ("great dane", "great\u00a0dane", "U+00A0 (no-break space)"),
        ("\u2764", "\u2764\ufe0f", "U+FE0F (variation selector-16)"),
        ("\uff43at", "cat", "U+FF43 (fullwidth latin small letter c)"),
        ("\u0645\u06cc\u062e", "\u0645\u06cc\u200c\u062e", "U+200C (zero width non-joiner)"),
    ],
)
def test_names_that_are_hardly_two_fold_to_one(one: str, other: str, how: str) -> None:
    assert folded(one) == folded(other)
    assert difference(one, other) == difference(other, one) == how


@pytest.mark.parametrize(
    ("one", "other"), [("cafe", "caf\u00e9"), ("cat", "cats"), ("1", "01"), ("a b", "ab")]
)
def test_names_that_differ_to_the_eye_stay_two(one: str, other: str) -> None:
    assert folded(one) != folded(other)
