"""Who may command the daemon: a token, and on loopback nothing that a foreign web page could have sent."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from reconfigure_daemon.control_api.listener import is_loopback
from reconfigure_daemon.control_api.page_files import FOLDER
from reconfigure_daemon.errors import OriginRefused, RequestInvalid, Unauthorised

#: Probes and the page's own files need no token: they tell nothing but whether the daemon is up.
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})

#: Types of a body that a browser does not send to another site without asking it first.
_NO_FORM_SENDS = frozenset({"application/json", "application/x-ndjson"})

#: What the page sends along, and no other site's page can without asking first.
PAGE_HEADER = "X-Reconfigure"


def token_guard(token: str | None) -> Middleware:
    """Asks every request but probes for `Authorization: Bearer TOKEN`; without a token nothing is asked."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and not _is_open(request.path):
            _check_token(request.headers.get(hdrs.AUTHORIZATION, ""), token)
        return await handler(request)

    return guard


def browser_guard(bound_to: str) -> Middleware:
    """Refuses what a page of another site could make a browser on this machine send.

    On loopback the Host header must name this machine, or a foreign name that was made to resolve to 127.0.0.1 would
    do. A request that changes something must come as JSON, which no plain form can send, and from a browser also from
    the page's own origin with a header that the page alone sends.
    """
    on_loopback = is_loopback(bound_to)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if on_loopback and not is_loopback(_host_name(f"//{request.host}")):
            raise OriginRefused(f"the Host header {request.host!r} does not name this machine; use 127.0.0.1")
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            _check_origin(request)
        return await handler(request)

    return guard


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(FOLDER)


def _check_token(header: str, token: str) -> None:
    scheme, _, given = header.partition(" ")
    # Compared as bytes in constant time: the time to refuse tells nothing of how much was right.
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        found = "a wrong token" if header else "no token"
        raise Unauthorised(
            f"found {found}; send `Authorization: Bearer TOKEN` with the content of control_api.token_file"
        )


def _host_name(address: str) -> str:
    """The host of an address; "" for what is none, e.g. with half a pair of brackets."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2] != request.host:
        raise OriginRefused(f"a page of {origin} may not command this daemon")
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin"):
        raise OriginRefused(f"a page of another site ({site}) may not command this daemon")
    if (origin is not None or site is not None) and PAGE_HEADER not in request.headers:
        raise OriginRefused(f"a browser sent no {PAGE_HEADER} header, which the daemon's own page always does")
    if request.content_type not in _NO_FORM_SENDS:
        raise RequestInvalid(f"found Content-Type {request.content_type!r}; send application/json")
