"""An engine host's telemetry, made up: requests finish, counters grow."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from reconfigure_daemon.ports import TelemetryBatch
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource
from reconfigure_policies.domain.workload import ITL_BUCKETS_S, FinishReason, IterationTotals, RequestRecord


def record(
    latency_s: float = 1.0,
    ttft_s: float | None = 0.1,
    output_tokens: int = 10,
    finish_reason: FinishReason = FinishReason.STOP,
    arrived_s: float = 0.0,
) -> RequestRecord:
    """A request that stopped by itself, unless another end is given."""
    return RequestRecord(arrived_s, ttft_s, latency_s, 100, 20, output_tokens, 0.05, finish_reason)


def reading(at_s: float, **devices: tuple[float, EnergySource]) -> EnergyReading:
    """Joules and source by device."""
    return EnergyReading(at_s, tuple(DeviceEnergy(name, source, joules) for name, (joules, source) in devices.items()))


def measured(at_s: float, energy_j: float) -> EnergyReading:
    """One measured GPU."""
    return reading(at_s, gpu0=(energy_j, EnergySource.MEASURED))


class Host:
    """Keeps a host's counters and turns what happened into its next batch."""

    def __init__(self, host_id: str = "a", at_s: float = 1000.0) -> None:
        self.host_id, self.at_s = host_id, at_s
        self.arrived = self.finished = self.prompt_tokens = self.cached = self.output_tokens = 0
        self.preemptions = self.iterations = 0
        self.itl = [0] * (len(ITL_BUCKETS_S) + 1)

    def batch(
        self,
        records: Iterable[RequestRecord] = (),
        *,
        seconds: float = 1.0,
        arrived: int = 0,
        running: int = 0,
        waiting: int = 0,
        gaps_s: Iterable[float] = (),
        preemptions: int = 0,
        dropped: int = 0,
    ) -> TelemetryBatch:
        """What happened in the last `seconds`."""
        records = list(records)
        self.at_s += seconds
        self.iterations += 1
        self.arrived += arrived
        self.preemptions += preemptions
        self.finished += len(records) + dropped
        for done in records:
            self.prompt_tokens += done.prompt_tokens
            self.cached += done.cached_prompt_tokens
            self.output_tokens += done.output_tokens
        for gap_s in gaps_s:
            self.itl[bisect_left(ITL_BUCKETS_S, gap_s)] += 1
        totals = IterationTotals(
            at_s=self.at_s,
            iterations=self.iterations,
            prompt_tokens=self.prompt_tokens,
            cached_prompt_tokens=self.cached,
            output_tokens=self.output_tokens,
            arrived=self.arrived,
            finished=self.finished,
            preemptions=self.preemptions,
            running=running,
            waiting=waiting,
            kv_cache_usage=0.0,
            itl_s_histogram=tuple(self.itl),
        )
        return TelemetryBatch(
            host_id=self.host_id,
            now_s=self.at_s,
            next_after=self.finished,
            dropped=dropped,
            records=records,
            totals=totals,
        )
