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
