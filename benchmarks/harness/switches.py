"""Switches asked of a daemon, hot and cold, with what each of them took."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.daemon import Daemon
from reconfigure_daemon.ports import SwitchMode


@dataclass(slots=True)
class Switches:
    """What was asked for, and what became of it.

    Attributes:
        made: each switch with its changes, kind (`hot` or the mode of a cold one), duration and measurements.
        not_applied: those that failed, in the daemon's words.
        while_arriving: how many were over before the last request arrived.
    """

    made: list[dict[str, Any]] = field(default_factory=list)
    not_applied: list[str] = field(default_factory=list)
    while_arriving: int = 0

    async def make(self, daemon: Daemon, changes: Mapping[str, Any]) -> str:
        """Ask for changes as `reconfigure apply` does, wait for the outcome and return it in words."""
        began_s = time.monotonic()
        result = await daemon.apply(changes)
        duration_s = time.monotonic() - began_s
        outcome = result.decision.outcome if result.decision is not None else None
        detail = outcome.detail if outcome is not None else "nothing to change"
        measurements = outcome.measurements if outcome is not None else {}
        kind = kind_of(detail, measurements)
        self.made.append({"changes": dict(changes), "kind": kind, "duration_s": duration_s, **measurements})
        if outcome is None or outcome.kind != "applied":
            self.not_applied.append(f"{dict(changes)}: {detail}")
        return f"{dict(changes)}, {kind}, in {duration_s:.2f} s: {detail}"

    def durations_s(self, kind: str) -> list[float]:
        """Of every switch of a kind."""
        return [made["duration_s"] for made in self.made if made["kind"] == kind]

    def total(self, measurement: str) -> int:
        """A measurement's sum over all switches."""
        return round(math.fsum(made.get(measurement, 0) for made in self.made))


def kind_of(detail: str, measurements: Mapping[str, float]) -> str:
    """`hot`, or the mode that the engine host says it has used for a cold one."""
    if "live_requests" not in measurements:
        return "hot"
    return next((mode for mode in SwitchMode if detail.startswith(mode)), "unknown")
