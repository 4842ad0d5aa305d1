from pathlib import Path

import matplotlib
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from components.io.reports.plots.canvas import saved_figure, shorten


def test_short_text_stays_and_long_text_loses_its_middle() -> None:
    assert shorten("scratch", 7) == "scratch"
    assert shorten("abcdefghij", 7) == "ab...ij"
    assert shorten("abcdefghij", 8) == "abc...ij"


@settings(deadline=None)
@given(st.text(), st.integers(5, 60))
def test_shortened_text_fits_on_one_printable_line(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit
    assert shorten(text, limit).isprintable()


def test_a_figure_is_a_png_without_traces_of_time_and_software(tmp_path: Path) -> None:
    with saved_figure(tmp_path / "p.png", 4, 2, "Nothing."):
        pass

    with Image.open(tmp_path / "p.png") as png:
        png.load()
        assert (png.format, png.size) == ("PNG", (480, 240))
        assert set(png.info) == {"dpi"}
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_long_titles_are_wrapped_inside_the_figure(tmp_path: Path, drawn: list[Figure]) -> None:
    with saved_figure(tmp_path / "p.png", 4, 2, "word " * 40):
        pass

    title = drawn[0].get_suptitle()
    assert "\n" in title
    assert max(map(len, title.splitlines())) <= 44


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    with saved_figure(tmp_path / "p.png", 4, 2, "Nothing."):
        pass

    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_change_a_figure(tmp_path: Path) -> None:
    with saved_figure(tmp_path / "one.png", 4, 2, "Nothing."):
        pass
    with (
        matplotlib.rc_context({"font.size": 30, "figure.facecolor": "red"}),
        saved_figure(tmp_path / "two.png", 4, 2, "Nothing."),
    ):
        pass

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
