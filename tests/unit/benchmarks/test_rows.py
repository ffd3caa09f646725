"""A row says whether its figure reached its target, and how it is written."""

import pytest

from benchmarks.harness.result import value_in_words
from benchmarks.harness.rows import at_least, at_most, below, exactly, shown


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (at_most("stall", 0.3, 0.3, "s"), True),
        (at_most("stall", 0.31, 0.3, "s"), False),
        (below("memory", 150, 150, "MB"), False),
        (below("memory", 149.9, 150, "MB"), True),
        (at_least("throughput", 0.99, 0.99), True),
        (at_least("throughput", 0.98, 0.99), False),
        (exactly("lost", 0, 0), True),
        (exactly("lost", 1, 0), False),
        (shown("TTFT", 0.2, "s"), None),
    ],
)
def test_a_target_is_met_up_to_its_limit(row, met):
    """At most and at least hold at the limit, below does not, and a figure without a target has no verdict."""
    assert row.met is met


@pytest.mark.parametrize("make", [at_most, below, at_least, exactly])
def test_what_was_not_measured_meets_no_target(make):
    """A missing figure is a miss, never a pass."""
    assert make("stall", None, 0).met is False


def test_the_target_is_written_with_its_relation():
    """The target reads as a comparison."""
    assert at_most("stall", 0.1, 0.05, "s").target == "<= 0.05"
    assert exactly("lost", 0, 0).target == "= 0"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0123456, "s", "12.3 ms"),
        (0, "s", "0 s"),
        (0.0, "s", "0 s"),
        (12.3456, "s", "12.3 s"),
        (1234.5, "tokens/s", "1234 tokens/s"),
        (50, "", "50"),
        (0.99712, "", "0.997"),
        (None, "s", "not measured"),
    ],
)
def test_values_are_rounded_for_people(value, unit, words):
    """Three significant digits, times below a second in milliseconds, counts whole."""
    assert value_in_words(value, unit) == words
