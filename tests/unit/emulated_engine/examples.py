"""Arrivals that the schedulers' properties are tried with."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from reconfigure_daemon.emulated_engine.requests import Arrival

FOREVER_S = 1e6

unhurried = settings(deadline=None)  # how long an example takes depends on what else the machine does

arrivals = st.lists(
    st.tuples(st.floats(0, 2), st.integers(1, 3000), st.integers(1, 300), st.integers(0, 3)), min_size=1, max_size=25
).map(
    lambda rows: [
        Arrival(str(i), at_s, prompt, output, blocks=tuple(range(family * 1000, family * 1000 + prompt // 16)))
        for i, (at_s, prompt, output, family) in enumerate(rows)
    ]
)
