"""What the replicas of one core say, put together: vLLM's data parallelism, each replica an EngineCore of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from reconfigure_policies.domain.configuration import KnobValue

#: Bounds of the batch: a replica whose batch still has to drain is above what was asked for.
_DRAINING = ("max_num_seqs", "max_num_batched_tokens")


def enforced_by_all(enforced: Sequence[Mapping[str, KnobValue]]) -> dict[str, KnobValue]:
    """Hot knobs in force: what each replica was told, and of a bound that drains the largest."""
    largest = {name: max(each[name] for each in enforced) for name in _DRAINING if name in enforced[0]}
    return {**enforced[0], **largest}


class Gauges:
    """The latest gauges of each replica: statistics come from one at a time, and each knows only of itself."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[int, int, float]] = {}

    def complete(self, replica: int, stats: Any, replicas: int) -> None:
        """Make the gauges in a replica's scheduler statistics those of all: requests add up, KV usage is the mean."""
        self._latest[replica] = (stats.num_running_reqs, stats.num_waiting_reqs, stats.kv_cache_usage)
        running, waiting, usage = zip(*self._latest.values(), strict=True)
        stats.num_running_reqs, stats.num_waiting_reqs = sum(running), sum(waiting)
        stats.kv_cache_usage = fmean([*usage, *[0.0] * (replicas - len(usage))])
