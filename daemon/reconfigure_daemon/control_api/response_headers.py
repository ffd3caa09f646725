"""What every answer tells a browser: nothing from elsewhere, nothing inline, nothing framed, nothing kept."""

from __future__ import annotations

from aiohttp import hdrs, web

#: The page consists of this daemon's own files and speaks to this daemon only.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,  # named as text: older aiohttp has no constant for it
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Called for each answer before it is sent."""
    response.headers.update(_HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers[hdrs.SERVER] = "reconfigure"  # which library in which version answers is nobody's business
