"""The interactive grid of fine-tuning results: in a browser, and as an image without JavaScript."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tlkit.errors import DataError
from tlkit.plots.explorer import GRID, Explorer, explorer

ROOT = Path(__file__).parents[2]
RESULTS = json.loads(GRID.read_text())
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """The tags, scripts and text in the HTML of an explorer."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.scripts, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, text):
        if "script" in self.open:
            self.scripts.append(text)
        elif "style" not in self.open:
            self.text += text


@pytest.fixture(scope="module")
def html():
    return explorer()._repr_html_()


def test_the_page_contains_the_results_of_the_file(html):
    assert json.loads(Page(html).scripts[0]) == RESULTS
    assert len(html) < 120_000


def test_the_file_contains_the_means_and_deviations_of_the_runs():
    table = pd.read_csv(ROOT / "benchmarks" / "fine_tuning_grid.csv")
    assert RESULTS["seeds"] == table["seed"].nunique() >= 3
    cells = table.groupby(["arm", "rate", "labels"])[["new", "old"]]
    mean, std = cells.mean(), cells.std()
    for d, depth in enumerate(RESULTS["depths"]):
        for s, rate in enumerate(RESULTS["rates"]):
            for n, labels in enumerate(RESULTS["labels"]):
                for what in ("new", "old"):
                    cell = (depth, rate, labels)
                    assert RESULTS[what]["mean"][d][s][n] == pytest.approx(mean.loc[cell, what], abs=1e-4)
                    assert RESULTS[what]["std"][d][s][n] == pytest.approx(std.loc[cell, what], abs=1e-4)


def test_without_scripts_only_an_image_with_alternative_text_remains(html):
    page = Page(html)
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    encoded = image["src"].removeprefix("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).width > 800
    for number in (RESULTS["before"], RESULTS["scratch"]["mean"][0], RESULTS["scratch"]["mean"][-1]):
        assert f"{number:.2f}" in image["alt"]
    assert "display" not in image["style"]
    assert not page.text.strip()


def test_the_page_requests_nothing_from_a_server(html):
    for tag, attributes in Page(html).tags:
        assert not {"href", "srcset"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:"), tag
    assert not re.search(r"https?://|@import|url\(|fetch|XMLHttp|\beval\b|Function\(", html)


def test_names_are_escaped():
    name = '</script><img src=x onerror="alert(1)">'
    html = Explorer(RESULTS | {"depths": [name, *RESULTS["depths"][1:]]})._repr_html_()
    assert name not in html
    assert json.loads(Page(html).scripts[0])["depths"][0] == name


def test_incomplete_results_are_refused():
    with pytest.raises(DataError, match=r"no old, scratch; expected .*fine_tuning_grid\.py"):
        explorer({name: value for name, value in RESULTS.items() if name not in ("old", "scratch")})


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM)


@pytest.fixture
def opened(browser, html):
    """Open two explorers on one page; yield the page and a list of its errors and requests."""
    page, problems = browser.new_page(viewport={"width": 360, "height": 800}), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if "data:" not in request.url else None)
    page.set_content(f"<!doctype html><html lang=en><title>two</title><main><h1>two</h1>{html}{html}</main>")
    yield page, problems
    page.close()


def shown(box, what):
    """Return accuracy and standard deviation in the caption, and the height of the blue bar."""
    chart = box.locator(".chart").nth(("new", "old").index(what))
    mean, std = re.search(r"digits: ([\d.]+) ± ([\d.]+)", chart.locator("p").inner_text()).groups()
    return mean, std, chart.locator("i.chosen").evaluate("bar => parseFloat(bar.style.height)")


def test_moving_a_slider_shows_the_results_of_its_setting(opened):
    page, problems = opened
    first, second = page.locator(".tlkit-explorer").all()
    untouched = shown(second, "new")
    sliders = first.get_by_role("slider").all()
    for d, s, n in ((0, 0, 0), (3, 4, 2), (1, 5, 5)):
        for slider, value in zip(sliders, (d, s, n), strict=True):
            slider.fill(str(value))
        for what in ("new", "old"):
            mean, std = (RESULTS[what][part][d][s][n] for part in ("mean", "std"))
            assert shown(first, what) == (f"{mean:.2f}", f"{std:.2f}", pytest.approx(100 * mean, abs=0.01))
        assert f"from scratch {RESULTS['scratch']['mean'][n]:.2f}" in first.inner_text()
    assert shown(second, "new") == untouched
    assert not problems


def test_the_sentence_describes_learning_and_forgetting(opened):
    page, _ = opened
    box = page.locator(".tlkit-explorer").first
    depth, rate, labels = box.get_by_role("slider").all()
    for position, start in ((4, "all layers at 0.01: "), (0, "all layers at 0.00001: ")):
        rate.fill(str(position))
        assert box.locator(".summary").inner_text().startswith(start)
    assert "keeps the old digits" in box.locator(".summary").inner_text()
    rate.fill("4")
    assert "forgets the old digits" in box.locator(".summary").inner_text()
    assert depth.get_attribute("aria-valuetext") == "all layers"
    assert labels.get_attribute("aria-valuetext") == "3 labels per class"


def test_the_sliders_have_names_work_by_keyboard_and_fit_a_phone(opened):
    page, _ = opened
    slider = page.get_by_role("slider", name="learning rate", exact=True).first
    slider.focus()
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.003"
    assert not page.locator("img").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_is_accessible(opened):
    from axe_playwright_python.sync_playwright import Axe

    page, _ = opened
    assert not [each["id"] for each in Axe().run(page).response["violations"]]
