"""Every page as a person has it: from a file, without a network, in both schemes and widths."""

import re
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from conftest import PAGES as FOLDER
from conftest import pages
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

PAGES = pages()
assert PAGES, "run `make test-browser`: it writes the pages first"

RUNS = [page for page in PAGES if page.name == "index.html"]
# Every run but the one that has only validated its data has a confusion matrix, or a part of it.
JUDGED = [page for page in RUNS if page.parent.name != "validated"]


def name(page: Path) -> str:
    return str(page.relative_to(FOLDER).parent)


class Watch:
    """What a page asks for, and what it complains about."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda line: self.errors.append(line.text) if line.type == "error" else None,
        )


def opened(view: BrowserContext, file: Path) -> tuple[Page, Watch]:
    page = view.new_page()
    watch = Watch(page)
    page.goto(file.as_uri())
    return page, watch


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_nothing_is_fetched_nothing_fails_and_nothing_is_wider_than_the_window(
    view: BrowserContext, file: Path
) -> None:
    page, watch = opened(view, file)
    outside = [url for url in watch.requests if not url.startswith(("file:", "data:"))]
    assert outside == []
    assert watch.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.alt)")
    assert broken == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("file", PAGES, ids=name)
def test_axe_finds_nothing(browser: Browser, axe: str, file: Path, width: int) -> None:
    """Contrast, names, alt texts, headings, in both schemes; the policy would forbid axe itself."""
    for scheme in ("light", "dark"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
        )
        page = context.new_page()
        page.goto(file.as_uri())
        assert violations(page, axe) == [], scheme
        context.close()


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_axe_does_find_what_is_wrong(browser: Browser, axe: str) -> None:
    """The checks above can fail: a planted image without words, and gray on gray."""
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1>h</h1><img src='data:image/png;base64,AA=='>"
        "<p style='color:#999;background:#aaa'>gray on gray</p></main>"
    )
    kinds = {line.partition(":")[0] for line in violations(page, axe)}
    assert {"image-alt", "color-contrast"} <= kinds
    context.close()


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_every_link_leads_somewhere(view: BrowserContext, file: Path) -> None:
    page, _ = opened(view, file)
    targets = page.evaluate(
        "[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
    )
    ids = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
    for target in set(targets):
        place, fragment = urldefrag(target)
        if place:
            assert (file.parent / place).is_file(), target
        else:
            assert fragment in ids, target


@pytest.mark.parametrize("file", JUDGED, ids=name)
def test_a_cell_of_the_matrix_opens_its_images(view: BrowserContext, file: Path) -> None:
    page, watch = opened(view, file)
    opens_its_images(page)
    assert watch.errors == []


def opens_its_images(shown: Page | FrameLocator) -> None:
    """Click on a mistake, then on a hit: each shows its images, one at a time."""
    assert shown.locator(".matrix").count() == 1
    cell = shown.locator(".matrix td.miss button").first
    count = int(re.sub(r"\D.*", "", cell.inner_text().replace(",", "")))
    section = shown.locator(f"#{cell.get_attribute('popovertarget')}")
    assert not section.is_visible()
    cell.click()
    assert section.is_visible()
    assert section.locator("figure").count() == min(count, 12)
    section.locator("button").click()
    assert not section.is_visible(), "it closes"
    cell.click()
    shown.locator(".matrix td.hit button").first.dispatch_event("click")  # below the first one
    assert not section.is_visible(), "one cell at a time"


def test_a_run_that_is_not_evaluated_has_no_matrix(view: BrowserContext) -> None:
    others = [page for page in RUNS if page not in JUDGED]
    assert [page.parent.name for page in others] == ["validated"]
    page, _ = opened(view, others[0])
    assert page.locator(".matrix").count() == 0


FRAMES = {
    "srcdoc": "frame.srcdoc = html",
    "blob": "frame.src = URL.createObjectURL(new Blob([html], {type: 'text/html'}))",
}


@pytest.mark.parametrize("how", FRAMES)
@pytest.mark.parametrize("file", JUDGED, ids=name)
def test_cells_open_in_the_frame_of_kubeflow_and_in_that_of_mlflow(
    view: BrowserContext, file: Path, how: str
) -> None:
    """Kubeflow sets srcdoc, MLflow the address of a blob; both allow scripts and nothing else."""
    view.route("http://ui.test/", lambda route: route.fulfill(body="<title>UI</title>"))
    page = view.new_page()
    page.goto("http://ui.test/")
    watch = Watch(page)
    page.evaluate(
        "html => new Promise(shown => {"
        "const frame = document.createElement('iframe');"
        "frame.setAttribute('sandbox', 'allow-scripts');"
        "frame.style = 'width: 100%; height: 800px; border: 0';"
        f"frame.onload = shown; {FRAMES[how]}; document.body.append(frame);"
        "}).then(() => true)",
        file.read_text(encoding="utf-8"),
    )
    opens_its_images(page.frame_locator("iframe"))
    assert watch.errors == []
    assert [url for url in watch.requests if not url.startswith(("data:", "blob:", "about:"))] == []


def test_heat_maps_stand_beside_the_images(view: BrowserContext) -> None:
    page, _ = opened(view, FOLDER / "two/index.html")
    maps = page.locator(".gallery img[alt^='where the evidence']")
    assert maps.count() > 0
    assert maps.count() == page.locator(".gallery .images:has(img[alt^='where'])").count()
