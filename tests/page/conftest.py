"""A browser in front of a real daemon; skipped, with the reason, where there is no Chromium."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.page.browser import CHROMIUM, DRIVER, chromium
from tests.page.daemon import running_daemon


def pytest_collection_modifyitems(items):
    """Say what is missing."""
    missing = [
        what
        for what, there in (
            ("Debian's chromium", CHROMIUM), ("Debian's chromium-driver", DRIVER), ("selenium", find_spec("selenium")),
        )
        if not there
    ]  # fmt: skip
    for item in items:
        if missing and "/tests/page/" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=f"no browser: {' and '.join(missing)} not installed"))


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    """The address of a daemon with ten minutes of past."""
    with running_daemon(tmp_path_factory.mktemp("daemon")) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    """One desktop browser for all that needs no other."""
    with chromium() as driver:
        yield driver
