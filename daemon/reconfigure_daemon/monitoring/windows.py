"""Telemetry and energy readings, cut into workload windows."""

from __future__ import annotations

import logging

from reconfigure_daemon.monitoring.partial_window import PartialWindow
from reconfigure_daemon.ports import TelemetryBatch
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import WorkloadWindow

logger = logging.getLogger(__name__)


class WindowBuilder:
    """Turns successive batches into windows that share their edges: nothing between two windows is lost.

    The first batch is the zero of the first window; a window ends with the first batch that makes it long enough, and
    that batch is the zero of the next. A batch of another host, or with counters that went back, starts anew, and the
    window in the making is dropped.

    Args:
        slo: what makes a finished request a good one; a new one holds from the next window on.
        length_s: the least duration of a window.

    Attributes:
        core_since_s: when the present core began to serve undisturbed, on the host's clock; requests that arrived
            earlier are not judged by what they got from it.
    """

    def __init__(self, slo: ServiceLevelObjective, length_s: float) -> None:
        self.slo = slo
        self.core_since_s = float("-inf")
        self._length_s = length_s
        self._partial: PartialWindow | None = None

    def add(self, batch: TelemetryBatch, energy: EnergyReading | None) -> list[WorkloadWindow]:
        """Windows that this batch completes: none or one.

        Args:
            batch: what the host reports since the last one.
            energy: the meter, read together with the batch; None makes the window's energy unknown at this edge.
        """
        if self._partial is None or not self._partial.continued_by(batch):
            self._partial = self._begun(batch, energy)
            return []
        if batch.dropped:
            logger.warning(
                "%d finished requests were overwritten before they were read; the window's percentiles and goodput "
                "lack them, and it is no observation",
                batch.dropped,
            )
        self._partial.extend(batch, energy)
        if self._partial.duration_s < self._length_s:
            return []
        window, self._partial = self._partial.window(), self._begun(batch, energy)
        return [window]

    def _begun(self, batch: TelemetryBatch, energy: EnergyReading | None) -> PartialWindow:
        return PartialWindow(batch, energy, self.slo, self.core_since_s)

    def current(self) -> WorkloadWindow | None:
        """The window in the making, up to the last batch; None before there is any of it."""
        if self._partial is None or self._partial.duration_s <= 0:
            return None
        return self._partial.window()

    def restart(self) -> None:
        """Drop the window in the making; the next batch is the zero of a fresh one.

        Called when the configuration changes, so that no window mixes two, and again when the change has settled, so
        that the first window after it can be an observation.
        """
        self._partial = None
