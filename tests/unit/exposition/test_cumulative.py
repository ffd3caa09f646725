from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.exposition.cumulative import CumulativeReadings


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 10**12)), max_size=50))
def test_no_sequence_of_readings_takes_a_counter_down(readings):
    """Whatever a source reads, and whichever source it is, every increase is at least zero."""
    cumulative = CumulativeReadings()
    for source, reading in readings:
        cumulative.from_source(source)
        assert cumulative.increase("joules", reading) >= 0


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), max_size=8))
def test_nothing_that_one_life_of_a_source_counted_is_lost(lives):
    """Over restarts, each announced as another source, the increases add up to what every life counted."""
    cumulative, total, expected = CumulativeReadings(), 0.0, 0
    for number, steps in enumerate(lives):
        cumulative.from_source(number)
        reading = 0
        for step in steps:
            reading += step
            total += cumulative.increase("tokens", reading)
        expected += reading
    assert total == expected
