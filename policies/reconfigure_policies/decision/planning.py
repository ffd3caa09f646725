"""What a change would do and cost, told before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from reconfigure_policies.decision.guardrails import Move
from reconfigure_policies.domain.decision import DecisionKind
from reconfigure_policies.domain.history import SwitchMeasurement


@dataclass(frozen=True, slots=True)
class Plan:
    """A move with its expected cost.

    Attributes:
        move: what would change.
        mode: how the cold part would be done, e.g. `overlapped`; None if everything is hot.
        duration_s, stall_s, energy_j: medians of past switches of this mode; None without any. `stall_s` is the
            pause that 95 of 100 live streams stay below; `energy_j` counts all devices from start to end.
        live_requests: streams that would be moved to the new core now.
        basis: where the expectation comes from.
    """

    move: Move
    mode: str | None
    duration_s: float | None
    stall_s: float | None
    energy_j: float | None
    live_requests: int
    basis: str

    @property
    def sentences(self) -> list[str]:
        """What would change, for people; what it would cost is in the numbers."""
        if self.move.kind is DecisionKind.KEEP:
            return ["Nothing changes: this is what the engine enforces already."]
        if self.move.kind is DecisionKind.ADJUST:
            return [f"Adjust {self.move} inside the running core; no stream stalls."]
        return [
            f"Redeploy for {self.move}: a new core takes over ({self.mode}).",
            f"{self._streams()} to the new core.",
        ]

    def _streams(self) -> str:
        return "1 live request moves" if self.live_requests == 1 else f"{self.live_requests} live requests move"


def plan(move: Move, mode: str | None, past: Iterable[SwitchMeasurement], live_requests: int) -> Plan:
    """What a move would do and cost, judged by past switches of the same mode.

    Args:
        move: the move.
        mode: how its cold part would be done; ignored where there is none.
        past: successful switches.
        live_requests: streams that live now.
    """
    if not move.cold or mode is None:
        basis = "hot knobs change in one step" if move.hot else "nothing changes"
        return Plan(move, None, None, None, None, live_requests, basis)
    alike = [switch for switch in past if switch.mode == mode]
    return Plan(
        move,
        mode,
        _median([switch.duration_s for switch in alike]),
        _median([switch.stall_p95_s for switch in alike]),
        _median([switch.energy_j for switch in alike]),
        live_requests,
        _basis(mode, alike),
    )


def _basis(mode: str, alike: Sequence[SwitchMeasurement]) -> str:
    if not alike:
        return f"no {mode} switch measured yet"
    switches = f"1 {mode} switch" if len(alike) == 1 else f"{len(alike)} {mode} switches"
    estimated = any(switch.measurements.get("energy_estimated") for switch in alike)
    return f"median of {switches}" + ("; joules are estimated, not measured" if estimated else "")


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
