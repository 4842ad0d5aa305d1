"""Pages of the pipeline, made without training, and Debian's Chromium to look at them.

Run by `make test-browser`: the pages are written by the project's environment, the tests run in one
of their own, which has a browser's driver and nothing of the project.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PAGES = Path(__file__).parents[2] / ".browser/pages"


def pages() -> list[Path]:
    """All that tests/browser/pages.py wrote."""
    return sorted(PAGES.rglob("*.html"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")], ids=str)
def view(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    """A window of this width and color scheme. The page's own policy stays in force."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True
    )
    yield context
    context.close()
