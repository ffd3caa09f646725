"""Requests, settings and command lines that make no sense, each a little off from one that does."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence

#: Stands for what clients write; a refusal may quote it to them, and nothing else may hold it.
CANARY = "canary-5f1e9d7c3b"

#: Stands for a token, which must appear nowhere but in the request that brings it.
TOKEN = "token-2b8c4e6a1d"  # it opens nothing

PATHS = (
    "/", "/healthz", "/readyz", "/metrics", "/page/main.js", "/v1/status", "/v1/intents", "/v1/decisions",
    "/v1/windows", "/v1/schedule", "/v1/pareto", "/v1/explanation", "/v1/surrogate", "/v1/trials", "/v1/profile",
    "/v1/tune", "/v1/tune/resume", "/v1/tune/stop", "/v1/openapi.json",
)  # fmt: skip

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "G\tET", "")
_BODIES: tuple[object, ...] = (
    {"kind": "apply", "changes": {"max_num_seqs": 32}, "dry_run": True},
    {"kind": "objective", "objective": "energy", "expires_in_s": 60, "dry_run": True},
    {"kind": "rollback", "dry_run": True},
    {"seconds": 1},
)
_ODD: tuple[object, ...] = (
    None, True, 0, -1, 1e308, float("nan"), float("inf"), 10**400, "", CANARY, "\x00", "\ud800", "../../etc/passwd",
    "a" * 5000, [], [[[[[]]]]], {}, {"": {}}, {"$ref": "#"},
)  # fmt: skip
_WORDS = (
    "status", "history", "explain", "schedule", "pareto", "apply", "rollback", "pause", "config", "check", "replay",
    "serve", "surrogate", "import", "export", "--json", "--dry-run", "--yes", "--for", "--objective", "energy", "8h",
    "max_num_seqs=32", "--limit", "--url", "http://127.0.0.1:1", "--token-file", "--days", "--help",
)  # fmt: skip

_LINES = (
    ("status", "--json"), ("history", "--limit", "5"), ("explain",), ("schedule", "--days", "3"), ("pareto",),
    ("apply", "max_num_seqs=32", "--dry-run"), ("apply", "block_size=7", "--yes"), ("rollback", "--dry-run"),
    ("--objective", "energy", "--for", "8h", "--dry-run"), ("config", "check"), ("config", "check", "README.md"),
    ("surrogate", "--json"), ("import", "README.md"), ("replay", "README.md"),
)  # fmt: skip

#: Words that would wait, serve, or watch for ever.
_NEVER = {"serve", "tune", "profile", "--watch", "-w"}


def request(draw: random.Random) -> bytes:
    """The bytes of one HTTP request, most of them malformed in one or several ways."""
    method = draw.choice(_METHODS) if draw.random() < 0.4 else draw.choice(("GET", "POST"))
    target = _target(draw)
    body = _body(draw) if draw.random() < 0.7 else b""
    headers = [("Host", "127.0.0.1"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    headers += [("Authorization", f"Bearer {TOKEN}")]
    for _ in range(draw.choice((0, 0, 1, 2))):
        headers = _bent(headers, draw)
    lines = [f"{method} {target} {draw.choice(('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/9.9', ''))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join(lines).encode("utf-8", "surrogatepass")
    whole = head + b"\r\n\r\n" + body
    return _scrambled(whole, draw) if draw.random() < 0.3 else whole


def settings(draw: random.Random, sound: str) -> bytes:
    """A settings file: a sound one with lines lost, doubled, moved, bent or scrambled."""
    lines = sound.splitlines()
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(lines))
        change = draw.randrange(6)
        if change == 0:
            del lines[place]
        elif change == 1:
            lines.insert(place, lines[draw.randrange(len(lines))])
        elif change == 2:
            lines[place] = lines[place].partition(":")[0] + ": " + _yaml_value(draw)
        elif change == 3:
            lines[place] = " " * draw.randint(0, 9) + lines[place]
        elif change == 4:
            lines[place] += draw.choice(string.punctuation)
        else:
            lines.insert(place, f"{draw.choice(_WORDS)}: {_yaml_value(draw)}")
        lines = lines or [""]
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return _scrambled(text, draw) if draw.random() < 0.2 else text


def words(draw: random.Random) -> list[str]:
    """A command line of words that mostly do not belong together, none of which would run for ever."""
    chosen = list(draw.choice(_LINES)) if draw.random() < 0.7 else []
    for _ in range(draw.randint(0 if chosen else 1, 3)):
        word = draw.choice(_WORDS) if draw.random() < 0.7 else _text(draw)
        chosen.insert(draw.randint(0, len(chosen)), word)
    return [word for word in chosen if word not in _NEVER]


def _target(draw: random.Random) -> str:
    path = draw.choice(PATHS)
    kind = draw.randrange(8)
    if kind == 0:
        return (
            path
            + "?"
            + "&".join(f"{draw.choice(('limit', 'before', 'after', 'days', 'x'))}={_query(draw)}" for _ in "ab")
        )
    if kind == 1:
        return path + "/" * draw.randint(1, 40)
    if kind == 2:
        return path + "%" + draw.choice(("00", "2e%2e", "zz", "ff", ""))
    if kind == 3:
        return "/" + _text(draw)
    return path + ("a" * draw.choice((9000, 100_000)) if kind == 4 and draw.random() < 0.1 else "")


def _query(draw: random.Random) -> str:
    return draw.choice(("0", "-1", "1e3", "９", "9" * 400, "%00", "", "true", CANARY, "1;2", "1&limit=2"))


def _body(draw: random.Random) -> bytes:
    wanted = draw.choice(_BODIES)
    kind = draw.randrange(6)
    if kind == 0:
        return _text(draw).encode("utf-8", "surrogatepass")
    if kind == 1:
        return b"[" * draw.choice((10, 5000, 60_000))
    if kind == 2:
        return b"x" * draw.choice((1, 70_000))
    bent = _replaced(wanted, draw)
    text = json.dumps(bent, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    return _scrambled(text, draw) if kind == 3 else text


def _replaced(value: object, draw: random.Random) -> object:
    """The same with one of its values, or all of it, another one."""
    if not isinstance(value, dict) or draw.random() < 0.15:
        return draw.choice(_ODD)
    key = draw.choice(list(value))
    if draw.random() < 0.2:
        return {**value, draw.choice(("kind", "objective", "changes", "source", CANARY)): draw.choice(_ODD)}
    return {**value, key: _replaced(value[key], draw)}


def _bent(headers: Sequence[tuple[str, str]], draw: random.Random) -> list[tuple[str, str]]:
    bent = list(headers)
    odd = (
        ("Host", draw.choice(("", "evil.example", "[::1", "127.0.0.1:99999", "a b"))),
        ("Content-Length", draw.choice(("-1", "1e3", "99999999999999999999", "abc", "+5"))),
        ("Transfer-Encoding", draw.choice(("chunked", "gzip, chunked", "nonsense"))),
        ("Content-Type", draw.choice(("text/plain", "", "application/json; charset=utf-7", "a/b/c"))),
        ("Content-Encoding", draw.choice(("gzip", "br", "nonsense"))),
        ("Accept", draw.choice(("application/x-ndjson", "\x01", ""))),
        ("Origin", draw.choice(("null", "http://evil.example", "//", "http://[::1"))),
        ("Sec-Fetch-Site", "cross-site"),
        ("Expect", draw.choice(("100-continue", "nonsense"))),
        ("Upgrade", "websocket"),
        ("Authorization", draw.choice(("Bearer", "Basic !!!", "Bearer \xff", ""))),
        ("X-" + "a" * draw.choice((1, 9000)), "b" * draw.choice((1, 9000))),
        ("na me", "value"),
    )
    name, value = draw.choice(odd)
    bent = [header for header in bent if header[0] != name or draw.random() < 0.3]
    return [*bent, (name, value)] * (1 if draw.random() < 0.95 else 60)


def _scrambled(whole: bytes, draw: random.Random) -> bytes:
    """A few bytes lost, doubled or replaced."""
    scrambled = bytearray(whole)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(scrambled) + 1)
        kind = draw.randrange(3)
        if kind == 0:
            del scrambled[place : place + draw.randint(1, 8)]
        elif kind == 1:
            scrambled[place:place] = scrambled[place : place + 12]
        else:
            scrambled[place : place + 1] = bytes([draw.randrange(256)])
    return bytes(scrambled)


def _yaml_value(draw: random.Random) -> str:
    return draw.choice(
        ("", "[", "{", "*a", "&a b", "!!python/object:os.system x", "9" * 400, "1e999", ".nan", "- - -", "\t", "'",
         "null", "[1, [2, [3]]]", "0 22 * * *", "61 * * * *", "Europe/Atlantis", "true", CANARY, "😀",
         "{a: {b: {c: {d: e}}}}")
    )  # fmt: skip


def _text(draw: random.Random) -> str:
    alphabet = string.printable + "äß€😀\x00\x7f\ud800"
    return "".join(draw.choice(alphabet) for _ in range(draw.randint(0, 40))).replace("\x00", "") or "-"
