"""The built site in a real browser: `make site-test` builds it and names its folder in TLKIT_SITE."""

import functools
import http.server
import os
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import sources

from tlkit.course.lessons import lessons

SITE = Path(os.environ.get("TLKIT_SITE", "not-built")).resolve()
PAGES = sorted(
    path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, LAPTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}

pytestmark = pytest.mark.skipif(not PAGES, reason="TLKIT_SITE names no built site; use `make site-test`")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on this machine")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said):
        pass


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, address):
    """A page that remembers what went wrong in it: errors, failed requests, requests to elsewhere."""
    context = browser.new_context(viewport=LAPTOP, reduced_motion="reduce")  # colours do not fade in
    tab = context.new_page()
    tab.wrong = []
    tab.on("console", lambda said: tab.wrong.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.on("requestfailed", lambda request: tab.wrong.append(f"failed: {request.url}"))
    tab.on(
        "response", lambda got: tab.wrong.append(f"{got.status}: {got.url}") if got.status >= 400 else None
    )
    near = (address, "data:", "blob:")
    tab.on("request", lambda asked: None if asked.url.startswith(near) else tab.wrong.append(asked.url))
    yield tab
    context.close()


class Found(HTMLParser):
    """The links, the anchors and the images of a page."""

    def __init__(self, page):
        super().__init__()
        self.links, self.anchors, self.images = [], set(), []
        self.feed((SITE / page).read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.add(given.get("id"))
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        if tag == "img":
            self.images.append(given)


@functools.cache
def found(page):
    return Found(page)


def test_there_is_a_page_for_each_lesson_and_each_way_to_find_one():
    expected = {f"notebooks/{lesson.path.stem}.html" for lesson in lessons()}
    expected |= {
        f"{name}.html"
        for name in (
            *("index", "choose", "measured", "compare", "python", "data", "promises", "glossary", "api"),
            "search",
        )
    }
    assert expected <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page):
    for link in found(page).links:
        to = urlsplit(link)
        if to.scheme in ("http", "https", "data", "mailto"):
            continue
        target = ((SITE / page).parent / unquote(to.path) if to.path else SITE / page).resolve()
        assert target.exists(), link
        if to.fragment and target.suffix == ".html":
            assert unquote(to.fragment) in found(target.relative_to(SITE).as_posix()).anchors, link


@pytest.mark.parametrize("page", PAGES)
def test_images_say_what_is_seen(page):
    for image in found(page).images:
        assert image.get("alt") or image.get("aria-hidden") == "true", image
        assert not re.search(r"\.(png|svg)$|^_images|[0-9a-f]{16}", image.get("alt") or ""), image


@pytest.mark.parametrize("page", [f"notebooks/{lesson.path.stem}.html" for lesson in lessons()])
def test_a_lesson_can_be_downloaded_and_opened_elsewhere(page):
    links = found(page).links
    notebook = page.replace(".html", ".ipynb")
    assert any(link.endswith(f"_sources/{notebook}") for link in links)
    for place in ("https://colab.research.google.com/", "https://mybinder.org/"):
        opens = [link for link in links if link.startswith(place) and link.endswith(notebook)]
        assert bool(opens) == bool(sources.repository())


@pytest.mark.parametrize("page", PAGES)
def test_links_to_the_repository_are_there_only_if_it_is(page):
    elsewhere = re.compile(r"colab\.research|mybinder\.org|github\.com/tlkit")
    leads = [link for link in found(page).links if elsewhere.search(link)]
    assert sources.repository() or not leads


@in_a_browser
@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_without_errors_and_everybody_can_use_it(page, tab, address):
    """On a laptop and a phone, in light and dark; no request leaves for anywhere."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    sparing = {"preload": False, "resultTypes": ["violations"]}
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        tab.emulate_media(color_scheme=scheme)
        tab.goto(f"{address}/{page}", wait_until="load")
        assert tab.locator("html").get_attribute("data-theme") == scheme
        findings = axe.run(tab, options=sparing | rules).response["violations"]
        bad = [each for each in findings if each["impact"] in ("serious", "critical")]
        assert not bad, [(each["id"], each["nodes"][0]["html"]) for each in bad]
    tab.set_viewport_size(PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert tab.wrong == []


@in_a_browser
def test_the_search_finds_gradient_reversal(tab, address):
    tab.goto(f"{address}/search.html?q=gradient+reversal")
    tab.wait_for_selector("#search-results li a")
    results = tab.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    assert any("06_domain_adaptation" in link for link in results)
    assert any("glossary" in link for link in results)
    assert tab.wrong == []


@in_a_browser
def test_a_solution_is_folded_until_it_is_asked_for(tab, address):
    tab.goto(f"{address}/notebooks/06_domain_adaptation.html")
    solution = tab.locator("details", has_text="Show the solution").first
    assert solution.get_attribute("open") is None
    code = solution.locator("pre").first
    assert not code.is_visible()
    solution.locator("summary").click()
    assert code.is_visible()


@in_a_browser
def test_formulas_are_drawn_by_the_browser_itself(tab, address):
    tab.goto(f"{address}/notebooks/07_multi_task_learning.html")
    sizes = tab.locator("math").evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert len(sizes) >= 3
    assert min(sizes) > 5


@in_a_browser
def test_the_decision_page_works_without_javascript(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/choose.html")
    for words in ("tlkit recipe dann", "tlkit recipe logme", "tlkit pretrain"):
        assert tab.get_by_text(words).first.is_visible()
    context.close()
