"""Durations are read and written as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.durations import format_duration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28800),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("45s", 45),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("2d", 172800),
        ("1D2H3M4S5MS", 86400 + 7200 + 180 + 4 + 0.005),
    ],
)
def test_reads_what_people_write(text, seconds):
    """Every part of a duration counts, in any case and with blanks between the parts."""
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "8", "h", "8 hours", "-1h", "30m1h", "1h1h", "0s", "1e3s", "9" * 400 + "d", "٣h x"]
)
def test_refuses_the_rest_and_says_what_is_allowed(text):
    """Text without a unit, out of order, repeated, zero or endless is refused with an example to copy."""
    with pytest.raises(ValueError, match=r"e\.g\. 8h, 90m or 1h30m"):
        parse_duration_s(text)


@pytest.mark.parametrize("text", ["0s", "0h0m", "0ms"])
def test_no_time_at_all_is_well_written_and_too_short(text):
    """The way out is not how to write it."""
    with pytest.raises(ValueError, match="is no time at all; write more than 0"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0384, "38ms"),
        (0.9999, "1s"),
        (4.23, "4.2s"),
        (59.99, "1m"),
        (60, "1m"),
        (95, "1m35s"),
        (5400, "1h30m"),
        (28800, "8h"),
        (90061, "1d1h"),
        (-95, "-1m35s"),
    ],
)
def test_writes_the_two_longest_units(seconds, text):
    """A duration is written short enough to read at a glance."""
    assert format_duration(seconds) == text


@given(st.floats(min_value=0.001, max_value=1e9))
def test_what_is_written_reads_back(seconds):
    """The written form is a valid duration within the error of its shorter unit."""
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.5, abs=0.06)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """No text makes the parser fail in another way than by refusing it."""
    with suppress(ValueError):
        assert parse_duration_s(text) > 0
