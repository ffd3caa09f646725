"""The page at `/`: hand-written files of this package, read once, served as they are."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

FOLDER = "/page/"

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes() -> list[web.RouteDef]:
    """One route per file, so that no path of a request is ever looked up on a disk."""
    found = files("reconfigure_daemon.control_api").joinpath("page")
    routes = []
    for file in sorted(found.iterdir(), key=lambda each: each.name):
        path = "/" if file.name == "index.html" else FOLDER + file.name
        routes.append(web.get(path, _always(file.read_text("utf-8"), _TYPES[file.name[file.name.rindex(".") :]])))
    return routes


def _always(text: str, content_type: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        """A file of the page."""
        # Asked again each time: a page of another version would not understand this daemon's answers.
        headers = {hdrs.CACHE_CONTROL: "no-cache"}
        return web.Response(text=text, content_type=content_type, charset="utf-8", headers=headers)

    return answer
