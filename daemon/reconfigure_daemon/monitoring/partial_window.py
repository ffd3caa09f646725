"""A workload window in the making."""

from __future__ import annotations

from collections.abc import Iterable

from reconfigure_daemon.monitoring.energy_span import EnergySpan
from reconfigure_daemon.monitoring.quantiles import LatencySketch, itl_percentiles
from reconfigure_daemon.ports import TelemetryBatch
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import IterationTotals, RequestRecord, WorkloadWindow


class TimeWeightedMean:
    """Mean of a gauge over time, taking it to move in a straight line between two samples."""

    def __init__(self, at_s: float, value: float) -> None:
        self._at_s, self._value = at_s, value
        self._area = self._duration_s = 0.0

    def sample(self, at_s: float, value: float) -> None:
        """Add the stretch since the last sample."""
        elapsed_s = at_s - self._at_s
        self._area += elapsed_s * (self._value + value) / 2
        self._duration_s += elapsed_s
        self._at_s, self._value = at_s, value

    def mean(self) -> float:
        """The mean so far; the sample itself before a second one."""
        return self._area / self._duration_s if self._duration_s > 0 else self._value


class PartialWindow:
    """What happened since a batch's totals, which are the window's zero.

    Args:
        start: the batch.
        energy: the meter, read together with it.
        slo: what makes a finished request a good one.
        core_since_s: requests that arrived earlier are inherited.
    """

    def __init__(
        self,
        start: TelemetryBatch,
        energy: EnergyReading | None,
        slo: ServiceLevelObjective,
        core_since_s: float = float("-inf"),
    ) -> None:
        self._host_id, self._slo, self._core_since_s = start.host_id, slo, core_since_s
        self._first = self._last = start.totals
        self._running = TimeWeightedMean(start.totals.at_s, start.totals.running)
        self._waiting = TimeWeightedMean(start.totals.at_s, start.totals.waiting)
        self._energy = EnergySpan(energy)
        self._ttft, self._tpot, self._e2e_latency = LatencySketch(), LatencySketch(), LatencySketch()
        self._slo_met = self._dropped = self._aborted = self._inherited = 0

    @property
    def duration_s(self) -> float:
        """Seconds so far, by the host's clock."""
        return self._last.at_s - self._first.at_s

    def continued_by(self, batch: TelemetryBatch) -> bool:
        """Whether the batch comes from the same host and none of its counters went back."""
        return batch.host_id == self._host_id and all(
            before <= after for before, after in zip(_counters(self._last), _counters(batch.totals), strict=True)
        )

    def extend(self, batch: TelemetryBatch, energy: EnergyReading | None) -> None:
        """Take in the requests that finished since the last batch, and the totals now."""
        self._last = batch.totals
        self._running.sample(batch.totals.at_s, batch.totals.running)
        self._waiting.sample(batch.totals.at_s, batch.totals.waiting)
        self._energy.extend(energy)
        self._dropped += batch.dropped
        self._take(batch.records)

    def _take(self, records: Iterable[RequestRecord]) -> None:
        for record in records:
            if record.arrived_s < self._core_since_s:
                self._inherited += 1
                continue
            self._slo_met += self._slo.met_by(record)
            self._aborted += self._slo.left_open_by(record)
            self._e2e_latency.add(record.e2e_latency_s)
            if record.ttft_s is not None:
                self._ttft.add(record.ttft_s)
            if record.tpot_s is not None:
                self._tpot.add(record.tpot_s)

    def window(self) -> WorkloadWindow:
        """The window up to the last batch."""
        first, last, energy = self._first, self._last, self._energy.energy()
        return WorkloadWindow(
            started_s=first.at_s,
            duration_s=self.duration_s,
            arrivals=last.arrived - first.arrived,
            finished=last.finished - first.finished,
            slo_met=self._slo_met,
            prompt_tokens=last.prompt_tokens - first.prompt_tokens,
            cached_prompt_tokens=last.cached_prompt_tokens - first.cached_prompt_tokens,
            output_tokens=last.output_tokens - first.output_tokens,
            preemptions=last.preemptions - first.preemptions,
            mean_running=self._running.mean(),
            mean_waiting=self._waiting.mean(),
            ttft_s=self._ttft.percentiles(),
            itl_s=itl_percentiles(_gaps_between(first, last)),
            tpot_s=self._tpot.percentiles(),
            e2e_latency_s=self._e2e_latency.percentiles(),
            energy_j=energy.energy_j,
            energy_source=energy.source.value,
            energy_by_source_j=energy.by_source_j,
            dropped=self._dropped,
            aborted=self._aborted,
            inherited=self._inherited,
        )


def _counters(totals: IterationTotals) -> tuple[float, ...]:
    """Everything that only grows while a host lives."""
    return (
        totals.at_s,
        totals.iterations,
        totals.prompt_tokens,
        totals.cached_prompt_tokens,
        totals.output_tokens,
        totals.arrived,
        totals.finished,
        totals.preemptions,
        sum(totals.itl_s_histogram),
    )


def _gaps_between(first: IterationTotals, last: IterationTotals) -> list[int]:
    """Inter-token gaps per bucket; a host that has seen none yet may send no buckets."""
    before = first.itl_s_histogram or (0,) * len(last.itl_s_histogram)
    return [after - earlier for earlier, after in zip(before, last.itl_s_histogram, strict=False)]
