"""Chromium as tests drive it, and what is asked of a page's accessibility."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

#: Functions that look at a page; see the file.
ACCESSIBILITY = Path(__file__).with_name("accessibility.js").read_text("utf-8")


@contextmanager
def chromium(width=1280, height=900, scheme="light", reduced_motion=False):
    """A fresh browser without a profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en", "--disable-extensions"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium refuses to set up for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        features += [{"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield driver
    finally:
        driver.quit()


def complaints(driver):
    """What the page wrote to the console: faults of scripts, refusals by the content policy."""
    return [entry["message"] for entry in driver.get_log("browser")]


def seen(driver, question):
    """What one of the functions of `accessibility.js` finds."""
    return driver.execute_script(f"{ACCESSIBILITY}\nreturn {question}();")
