"""Chromium without a window, and what it says of a page: errors on the console, and requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--window-size=1400,1300",
)  # fmt: skip
PATIENCE = 60  # seconds
PROTRUDING = """
const width = document.documentElement.clientWidth;
const scrolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
return [...document.body.querySelectorAll("*")].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > width + 1 && box.left < width && !scrolls(e.parentElement);
}).map((e) => `${e.tagName} ${e.id || e.className}: ${(e.textContent || "").slice(0, 40)}`);
"""


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driver of chromium with a fresh profile; skips where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium with its driver: install Debian's chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: install the extra test")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    try:
        started = webdriver.Chrome(options=options, service=service)
        try:
            yield started
        finally:
            started.quit()
    finally:
        service.stop()


def open_page(driver: Any, path: Path) -> None:
    """Open a report and wait until its pictures are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(path.as_uri())
    WebDriverWait(driver, PATIENCE).until(lambda d: d.execute_script("return document.body.dataset.ready"))


def set_width(driver: Any, width: int) -> None:
    """Show pages `width` CSS pixels wide: as on a phone below 600, else as in a window."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def protruding(driver: Any) -> list[str]:
    """Elements that reach beyond the right edge of the page and are in no box of their own that scrolls."""
    return list(driver.execute_script(PROTRUDING))


def complaints(driver: Any) -> list[str]:
    """Everything on the console since the page was opened, and every request of the page but the one for itself."""
    found = [entry["message"] for entry in driver.get_log("browser")]
    for entry in driver.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.requestWillBeSent":
            request, page = event["params"]["request"]["url"], event["params"]["documentURL"]
            if page.startswith("file:") and request != page:
                found.append(f"request of {request}")
    return found
