"""What counts as growth of a process that was watched for an hour."""

from __future__ import annotations

import pytest

from benchmarks.faults.endurance import Track


@pytest.mark.parametrize(
    ("last_quarter", "grown"),
    [
        ([34, 58, 34, 34], 0),  # a switch under way
        ([81, 73, 34, 66], 0),  # more requests are live
        ([39, 63, 39, 41], 5),  # kept by each of five switches
    ],
)
def test_descriptors_grow_by_what_is_never_closed(last_quarter, grown):
    """Connections of live requests come and go; what is left when fewest are open, stays."""
    track = Track(descriptors=[33, 33, 33, 33, *[34, 35, 34, 58] * 2, *last_quarter])
    assert track.descriptor_growth() == grown


def test_memory_grows_by_what_most_looks_show():
    """A peak is none."""
    assert Track(resident=[1, 1, 5, 5, 5, 5, 9, 5]).resident_growth() == 2.0
    assert Track(resident=[1, 1, 5, 5, 5, 5, 5, 5]).resident_growth() == 0.0
    assert Track(resident=[7]).resident_growth() == 0.0
