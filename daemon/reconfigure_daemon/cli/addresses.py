"""Addresses of servers as users give them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from reconfigure_daemon.errors import RequestInvalid


def address(url: str, example: str) -> SplitResult:
    """The parts of a server's address.

    Args:
        url: what was given.
        example: an address to write instead.

    Raises:
        RequestInvalid: if it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # e.g. a port that is no number, or a bracket that is not closed
        usable = False
    if not usable:
        raise RequestInvalid(f"found the address {url!r}; write one such as {example}")
    return parts
