"""Whether the governor may act now; what does not allow it, in words that status can show."""

from __future__ import annotations

from reconfigure_daemon.ports import HostState, TelemetryBatch
from reconfigure_daemon.settings.model import GovernorSettings
from reconfigure_policies.domain.energy import EnergyReading, EnergySource
from reconfigure_policies.domain.history import ControllerState

_PACE = "pacing_interval_s"


def withheld_by_orders(governor: GovernorSettings, standing: ControllerState) -> str | None:
    """What settings and operators have against it; None if nothing."""
    if not governor.enabled:
        return "governor.enabled is false"
    if standing.paused:
        return "automatic changes are paused"
    if standing.objective is not governor.objective:
        return f"objective {standing.objective} is in force, and it governs under {governor.objective}"
    if standing.hands_off is not None:
        return f"{standing.hands_off}; the next objective or `reconfigure resume` lets it go on"
    return None


def withheld_by_engine(state: HostState, batch: TelemetryBatch) -> str | None:
    """What the engine host lacks; None if nothing."""
    if _PACE not in state.capabilities.hot_knobs:
        return f"this engine host cannot change {_PACE} while it runs"
    if batch.steps is None:
        return "this engine host does not sum its steps"
    return None


def withheld_by_meter(state: HostState, reading: EnergyReading | None, metered: bool) -> str | None:
    """What is missing of the joules; None if nothing.

    Args:
        state: an emulated engine's joules are its own model's, and right for it.
        reading: the meter as last read.
        metered: whether joules were known earlier; then the service level is held on while they are not.
    """
    source = EnergySource.UNKNOWN if reading is None else reading.source
    if counts(state, reading) or (metered and source is EnergySource.UNKNOWN):
        return None
    return f"joules are {source}, not measured"


def counts(state: HostState, reading: EnergyReading | None) -> bool:
    """Whether joules are those of this engine, and not a guess."""
    if reading is None:
        return False
    if state.engine == "emulated":
        return reading.source is not EnergySource.UNKNOWN
    return reading.source in (EnergySource.MEASURED, EnergySource.INTEGRATED)
