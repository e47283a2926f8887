"""A headless Chromium with selenium's driver of the system, which keeps its console and its network log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def chromium(width: int = 1200, height: int = 1000) -> Iterator[Any]:
    """A browser whose window shows so many CSS pixels, ended after the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        resize(driver, width, height)
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int, *, phone: bool = False) -> None:
    """Sets the size of the page, not of the window, whose least width is that of a desktop."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def open_page(driver: Any, path: Path, seconds: float = 30) -> float:
    """Opens a board from disk, and returns the ms from the start of the navigation until all charts are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(path.resolve().as_uri())
    drawn = "return document.documentElement.dataset.drawnMs"
    WebDriverWait(driver, seconds, poll_frequency=0.05).until(lambda one: one.execute_script(drawn))
    return float(driver.execute_script(drawn))


def opening_cpu_seconds(driver: Any, path: Path) -> float:
    """CPU time of the page's main thread until all charts are drawn, which a busy machine does not lengthen."""
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    open_page(driver, path)
    found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    driver.execute_cdp_cmd("Performance.disable", {})
    return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def requested(driver: Any) -> list[str]:
    """Addresses of all requests since the last call, which no data: address is."""
    entries = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    sent = (one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent")
    return [address for address in sent if not address.startswith("data:")]


def console(driver: Any) -> list[str]:
    """Messages of the console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]
