"""Settings mean here what they mean to DVC, and DVC writes params.yaml without disturbing it."""

import difflib
import shutil
import warnings
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import YAMLFileCorruptedError, modify_yaml, parse_yaml

from components.core.errors import InvalidParams
from components.io.yaml_file import read_yaml

COMMITTED = Path(__file__).parents[3] / "params.yaml"

WHOLE_NUMBERS = """
0 5 10 -5 +5 010 0010 -010 00 08 0o10 -0o17 +0o17 0o8 0O10 0x1F 0xff -0x1f 0X1F 0xG 0b101 0b2
1_000 100_000_000 1__0 _1 1_ 0_7 0x1_F 0b1_0 1,000 123456789012345678901234567890 + 1+1
"""

FRACTIONS = """
1.0 -1.5 +1.5 .5 -.5 5. 01.5 1.5.2 1_0.5 1.5_0 1e5 1E5 1e-5 1e+5 -1e5 +1e-3 1.e5 1.0e5 1.0e-5
1.0E+05 .5e5 .5e+5 .5e-5 1e 1e5.0 e5 1e400 1e-400 1_0e2 0e0 .e5 . ..
.inf .Inf .INF -.inf +.inf .iNF inf Infinity .nan .NaN .NAN -.nan nan NaN
"""

WORDS = """
true True TRUE tRUE false False FALSE yes Yes YES no No NO on On ON off Off OFF y Y n N t f
null Null NULL nULL ~ ~~ none None undefined <<x -- -a a:b a#b a&b a*b a!b a=b
text Text auto 1a a1 1-2 1/2 50% 1.0.0 v1 127.0.0.1 -_a 12:a \u00e9 \u96fb\u6c60 \U0001f600
"""

TIMES = """
1:30 1:30:15 01:30 -1:30 190:20:30 1:30.5 12:60 1:2:3:4
2020-01-01 2020-1-1 2020-12-31T23:59:59 2020-12-31T23:59:59Z 2020-12-31t23:59:59.25-05:00
2020-12-31T23:59 20200101 2020-01 2020/01/01
"""

QUOTED = [
    *(" ''", ' ""', " '010'", ' "010"', " 'true'", ' "1e5"', " 'null'", " '~'", " '1:30'"),
    *(" 'it''s'", ' "a\\nb"', ' "\\u00e9"', ' "\\x41"', ' "\\U0001F600"', " 'a: b # c'"),
    *(" ' a '", ' " a "', " 'a\n\n  b'", ' "tab\\t"', ' "\\e\\0"', ' "a\n  b"', ' "a\\\n  b"'),
]

LONGER = [
    *("", " ", " # only a comment", " 010 # and a comment", " a#b", " a b", " 1 2", " 5 # 6"),
    *("\n  a\n  b", "\n  a\n\n  b", " a\n  b", " a\n  # c", "\n  010", "\n  1\n  2"),
    *(" |\n  a\n  b\n", " |-\n  010\n", " |+\n  a\n\n", " >\n  a\n  b\n\n  c\n", " >-\n  1e5\n"),
    *(" |2\n    a\n", " >\n  a\n    b\n  c\n", " |\n  # no comment\n", " |\n"),
    *(" 2001-12-14 21:59:43.10 -5", " 2001-12-15 2:59:43.10", " 2001-12-14 21:59:43.999999999"),
    *(" [010, 0o10, on, ~, 1:30, ]", " {b: 010, c: on, d, e: }", " []", " {}", " [1,\n  2]"),
    *("\n- 010\n- on\n-\n- - 1\n  - 1e5", "\n- b: 010\n  c: on", " {'b': 1, \"c\": 2}", "\n  b:"),
    *(" {b: 1,\n  c: 2}", " {http://a: b}", " [a:b]", " http://a.b:80/c", " &x 010"),
]

PLAIN = [f" {word}" for word in (WHOLE_NUMBERS + FRACTIONS + WORDS + TIMES).split()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def refusal(file: Path, content: str | bytes) -> str:
    """The one line that says what is wrong with the file."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidParams) as refused:
        read_yaml(file)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 200
    return message


@pytest.mark.parametrize("written", [*PLAIN, *QUOTED, *LONGER])
def test_a_value_is_read_as_dvc_reads_it(file: Path, written: str) -> None:
    text = f"a:{written}\nlast: 1\n"
    file.write_text(text, encoding="utf-8")
    # As text, because there 1 is not 1.0, and nan is nan.
    assert repr(read_yaml(file)) == repr(parse_yaml(text, "params.yaml"))


def test_numbers_are_those_of_yaml_1_2(file: Path) -> None:
    file.write_text("{a: 010, b: 1:30, c: on, d: 1e-5, e: 0o10, f: 1_000, g: no}")
    assert list(read_yaml(file).values()) == [10, "1:30", "on", 1e-5, 8, 1000, "no"]


def test_a_file_that_asks_for_yaml_1_1_gets_it_from_both(file: Path) -> None:
    text = "%YAML 1.1\n---\na: 010\nb: 1:30\nc: on\n"
    file.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_yaml(file) == parse_yaml(text, "params.yaml") == {"a": 8, "b": 90, "c": True}


@pytest.mark.parametrize("written", ["-", "[a, , b]", "=", "%a", "@a", "`a", "a: b", "'a", "{a"])
def test_what_dvc_refuses_is_refused(file: Path, written: str) -> None:
    text = f"last: 1\na: {written}\n"
    with pytest.raises(YAMLFileCorruptedError):
        parse_yaml(text, "params.yaml")
    assert refusal(file, text).startswith("params.yaml: line ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: !mine 2", "!mine is a tag; write the plain value, text in quotes."),
        ("a: 1\nb: !!int '2'", "!!int is a tag; write the plain value, text in quotes."),
        ("a: 1\nb: ! 2", "! is a tag; write the plain value, text in quotes."),
        ("a: 1\nb: !!set {c}", "!!set is a tag; write the plain value, text in quotes."),
        ("a: 1\n!!str b: 2", "!!str is a tag; write the plain value, text in quotes."),
        (
            "a: 1\nb: !!python/object/apply:os.system [c]",
            "!!python/object/apply:os.system is a tag; write the plain value, text in quotes.",
        ),
        (f"a: 1\nb: !<{'x' * 9_000}> 2", f"{'x' * 57}... is a tag; write the plain value, "),
        ("a: 1\nb: *c", "*c is a reference; write the value out."),
        (f"a: 1\nb: *{'x' * 9_000}", f"*{'x' * 57}... is a reference; write the value out."),
        ("a: 1\na: 2", "a is written twice; keep one of them."),
        ("a: 1\n~: 2", "the key None is not text; put it in quotes."),
        (f"a: 1\n? [{'b, ' * 900}]\n: 2", "the key ['b', 'b', "),
        (
            "a: 1\nb: 2020-13-45",
            "2020-13-45 is no number and no date that exists; put it in quotes if it is text.",
        ),
        (f"a: 1\nb: {'1' * 5_000}", f"{'1' * 57}... is no number and no date that exists; "),
        ("a: 1\nb: ._", "._ is no number and no date that exists; put it in quotes if it is text."),
        (f"a: 1\nb: {'[' * 9_000}", "lies more than 32 levels deep; look for a bracket that is "),
        ("a: 1\n<<: {b: 2}", "is not valid YAML (could not determine a constructor for the tag"),
        (
            "a: 1\n\tb: 2",
            (
                "is not valid YAML (while scanning for the next token, found character '\\t' that "
                "cannot start any token); fix that line."
            ),
        ),
        ("a: 1\nb: \x01", "is not valid YAML (the control character 0x01); fix that line."),
        (b"a: 1\nb: \xff", "is not valid YAML (bytes that are not UTF-8); fix that line."),
        ("a: 1\n---\nb: 2", "is not valid YAML (expected a single document in the stream, but "),
    ],
)
def test_the_line_of_what_is_refused_is_named(
    file: Path, content: str | bytes, message: str
) -> None:
    assert refusal(file, content).startswith(f"params.yaml: line 2: {message}")


def test_the_message_names_the_file_that_was_read(tmp_path: Path) -> None:
    assert refusal(tmp_path / "dvc.yaml", "a: *b").startswith("dvc.yaml: line 1: *b is a ")


def test_an_anchor_without_references_does_no_harm(file: Path) -> None:
    file.write_text("a: &x 1\nb: &x 2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_yaml(file) == {"a": 1, "b": 2}


def _changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_the_committed_settings_stand_as_dvc_writes_them(file: Path) -> None:
    shutil.copy(COMMITTED, file)
    with modify_yaml(file):
        pass
    assert file.read_text() == COMMITTED.read_text()


def test_a_setting_changed_by_dvc_changes_one_line(file: Path) -> None:
    shutil.copy(COMMITTED, file)
    with modify_yaml(file) as settings:
        settings["train"]["epochs"] = 8
    removed, added = _changed_lines(COMMITTED.read_text(), file.read_text())
    assert added[1:] == removed[1:].replace("epochs: tuned", "epochs: 8    ")


def test_an_experiment_with_another_setting_changes_one_line(file: Path) -> None:
    shutil.copy(COMMITTED, file)
    apply_overrides(file, ["train.epochs=8"])  # what `dvc exp run -S train.epochs=8` does
    removed, added = _changed_lines(COMMITTED.read_text(), file.read_text())
    assert (removed[2:].split()[:2], added[2:].split()[:2]) == (
        ["epochs:", "tuned"],
        ["epochs:", "8"],
    )
    assert read_yaml(file)["train"]["epochs"] == 8
