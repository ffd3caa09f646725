"""The publishers' own formats: how a first line is recognised and how a line becomes a request.

A line that does not fit raises `LineFault`, whose text says what was found and what is expected.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from reconfigure_daemon.load_generation.trace import BLOCK_TOKENS, TraceRequest

#: A longer prompt or output is taken for a damaged line: no model reads as much, and its prompt would fill memory.
MAX_TOKENS = 10_000_000

#: The year 5138 in milliseconds since the epoch; anything later, infinite or not a number is a damaged line.
MAX_TIMESTAMP_MS = 1e14


class LineFault(ValueError):
    """One line does not fit its format."""


class LineParser(Protocol):
    """Turns a line into a request whose `arrival_s` still has the file's own origin."""

    def __call__(self, line: str) -> TraceRequest:
        """Parse one line without its line end; raises `LineFault`."""


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A publisher's format.

    Attributes:
        name: as reports show it.
        first_line: what the first line looks like, for error messages.
        has_header: whether the first line names columns rather than being a request.
        recognise: a parser if the first line is of this format, else None.
    """

    name: str
    first_line: str
    has_header: bool
    recognise: Callable[[str], LineParser | None]


def timestamp_s(text: str) -> float:
    """Seconds since the epoch of `2023-11-16 18:15:46.6805900`, with or without a time zone; a seventh digit is cut."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def token_count(name: str, found: object) -> int:
    """A recorded length as a whole number, 0 to `MAX_TOKENS`."""
    try:
        tokens = int(found) if isinstance(found, str) else found
    except ValueError:
        tokens = None
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= MAX_TOKENS:
        raise LineFault(f"found {name} {found!r}, expected a whole number from 0 to {MAX_TOKENS}")
    return tokens


def _csv_format(
    name: str, header: str, columns: tuple[str, str, str], to_seconds: Callable[[str], float]
) -> TraceFormat:
    """A CSV whose `columns` are arrival, prompt length and output length; further columns are passed over."""

    def recognise(first_line: str) -> LineParser | None:
        found = _fields(first_line)
        if not set(header.split(",")) <= set(found):
            return None
        positions = tuple(map(found.index, columns))
        return lambda line: _csv_request(_fields(line), len(found), columns, positions, to_seconds)

    return TraceFormat(name, header, has_header=True, recognise=recognise)


def _fields(line: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader((line,)), [])]
    except csv.Error as fault:
        raise LineFault(f"found a line that is no CSV ({fault})") from fault


def _csv_request(
    fields: list[str],
    width: int,
    columns: tuple[str, str, str],
    positions: tuple[int, ...],
    to_seconds: Callable[[str], float],
) -> TraceRequest:
    if len(fields) != width:
        raise LineFault(f"found {len(fields)} fields, expected {width}")
    arrival, prompt, output = (fields[position] for position in positions)
    return TraceRequest(
        _seconds(columns[0], arrival, to_seconds), token_count(columns[1], prompt), token_count(columns[2], output)
    )


def _seconds(name: str, found: str, to_seconds: Callable[[str], float]) -> float:
    expected = (
        "a date and time like 2023-11-16 18:15:46.6805900" if to_seconds is timestamp_s else "a number of seconds"
    )
    try:
        seconds = to_seconds(found)
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise LineFault(f"found {name} {found!r}, expected {expected}")
    return seconds


def _recognise_mooncake(first_line: str) -> LineParser | None:
    return _mooncake_request if first_line.startswith("{") and '"input_length"' in first_line else None


def _mooncake_request(line: str) -> TraceRequest:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise LineFault(f"found text that is no JSON ({fault})") from fault
    if not isinstance(entry, dict):
        raise LineFault("found JSON that is no object, expected timestamp, input_length, output_length, hash_ids")
    arrival_s = _milliseconds(entry.get("timestamp")) / 1000
    prompt_tokens = token_count("input_length", entry.get("input_length"))
    output_tokens = token_count("output_length", entry.get("output_length"))
    return TraceRequest(arrival_s, prompt_tokens, output_tokens, _blocks(entry.get("hash_ids"), prompt_tokens))


def _milliseconds(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < MAX_TIMESTAMP_MS:
        raise LineFault(f"found timestamp {str(found)[:40]!r}, expected a number of milliseconds")
    return found


def _blocks(found: object, prompt_tokens: int) -> tuple[int, ...]:
    """The block ids. Some traces leave out the last block if it is not full; other block sizes are refused."""
    if not isinstance(found, list) or not all(type(block) is int for block in found):
        raise LineFault(f"found hash_ids {str(found)[:40]}, expected a list of whole numbers")
    expected = math.ceil(prompt_tokens / BLOCK_TOKENS)
    if abs(expected - len(found)) > 1:
        raise LineFault(
            f"found {len(found)} hash_ids for {prompt_tokens} tokens, expected {expected}: one for every "
            f"{BLOCK_TOKENS} tokens"
        )
    return tuple(found)


FORMATS = (
    _csv_format(
        "azure",
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        timestamp_s,
    ),
    TraceFormat(
        "mooncake",
        '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, ...]}',
        has_header=False,
        recognise=_recognise_mooncake,
    ),
    _csv_format(
        "servegen", "arrival_s,prompt_tokens,output_tokens", ("arrival_s", "prompt_tokens", "output_tokens"), float
    ),
    _csv_format(
        "burstgpt",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        ("Timestamp", "Request tokens", "Response tokens"),
        float,
    ),
)
