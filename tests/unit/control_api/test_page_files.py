from __future__ import annotations

import re
from importlib.resources import files

import pytest

from reconfigure_daemon.control_api.response_headers import CONTENT_POLICY

TOKEN = "b7c1d2e3f4a5968778695a4b3c2d1e0f"
PAGE = files("reconfigure_daemon.control_api").joinpath("page")
NAMES = sorted(file.name for file in PAGE.iterdir())


async def test_the_page_and_its_files_are_served(api):
    """Each with its own type, and asked for again each time, as another version has other files."""
    for path, content_type in (
        ("/", "text/html"),
        ("/page/main.js", "text/javascript"),
        ("/page/page.css", "text/css"),
    ):
        async with api.session.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, content_type)
            assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/page/", "/page/../server.py", "/page/%2e%2e/server.py", "/page/nothing.js"])
async def test_nothing_else_of_the_disk_is_served(api, path):
    """Paths are a fixed list, so none leads out of the folder."""
    assert (await api.get(path))[0] == 404


async def test_the_page_opens_without_a_token_and_tells_nothing(running_api):
    """A browser cannot send a token before the page has asked for it; whatever the page shows needs it."""
    async with running_api(token=TOKEN) as api:
        async with api.session.get("/") as answer:
            assert answer.status == 200
        for path in ("/v1/status", "/v1/windows", "/v1/decisions", "/v1/schedule", "/v1/pareto", "/metrics"):
            assert (await api.get(path))[0] == 401


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/v1/status", "/v1/nothing", "/metrics"])
async def test_every_answer_is_fenced_in(api, path):
    """Nothing inline, nothing from elsewhere, nothing framed, no guessing of types; refusals included."""
    async with api.session.get(path) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"] == CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "reconfigure"
    assert headers["Cache-Control"] in ("no-store", "no-cache")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_needs_nothing_from_elsewhere(name):
    """No address of another site, no markup from strings, nothing stored in the browser."""
    text = PAGE.joinpath(name).read_text("utf-8")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert not re.findall(r"localStorage|sessionStorage|indexedDB|document\.cookie", text)
    assert not re.findall(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text)
