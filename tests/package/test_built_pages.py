"""The documentation in a browser: no page is wider than a laptop or a phone, loads from elsewhere, or hides.

`.ci/run` builds the documentation and names the folder in YT_PROTOHALOS_HTML; without it, or without a browser, these
tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import chromium, protruding, set_width

MAIN = (
    "index", "quickstart", "install", "models", "model_cards/planck-v5", "validation", "finder", "zoom", "training",
    "method", "api", "api/generated/yt_protohalos.predict", "gallery/index",
)  # fmt: skip
TOO_WIDE = """
return [...document.querySelectorAll("article table")].filter((t) => t.scrollWidth > t.parentElement.clientWidth + 1)
  .map((t) => `${t.scrollWidth} > ${t.parentElement.clientWidth}: ${t.textContent.trim().slice(0, 60)}`);
"""


@pytest.fixture(scope="module")
def html() -> Path:
    if "YT_PROTOHALOS_HTML" not in os.environ:
        pytest.skip("YT_PROTOHALOS_HTML names no built documentation")
    return Path(os.environ["YT_PROTOHALOS_HTML"]).resolve()


@pytest.fixture(scope="module")
def browser(html, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("width", [360, 1366])
def test_no_page_and_no_table_is_wider_than_the_screen(html, browser, width):
    set_width(browser, width)
    wrong = {}
    for name in MAIN:
        browser.get((html / f"{name}.html").as_uri())
        found = [*protruding(browser), *browser.execute_script(TOO_WIDE)]
        if browser.execute_script("return document.documentElement.scrollWidth") > width or found:
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize(
    ("words", "page"), [("merger tree", "redshifts"), ("accuracy", "validation"), ("zoom", "zoom")]
)
def test_a_search_finds_its_page_among_the_first(html, browser, words, page):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{(html / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
    links = "return [...document.querySelectorAll('ul.search li a')].map((a) => a.pathname.split('/').at(-1))"
    found = WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(links))
    assert f"{page}.html" in found[:3]


def test_no_page_asks_for_anything_elsewhere(html):
    """Formulae, fonts and scripts are in the folder, so that the pages read without a network."""
    loaded = ('<script src="http', '<link rel="stylesheet" href="http', "cdn.jsdelivr", "url(http")
    pages = [*html.rglob("*.html"), *html.rglob("*.css")]
    assert pages
    assert [path.name for path in pages if any(word in path.read_text(errors="ignore") for word in loaded)] == []
