"""What a calendar of objectives says: stretches of time, each with the objective that one schedule wants in it."""

from __future__ import annotations

from dataclasses import dataclass

from reconfigure_policies.domain.objective import Objective


@dataclass(frozen=True, slots=True)
class ScheduledSpan:
    """One coming of a schedule; wall-clock seconds since the epoch.

    Attributes:
        schedule: its name in `config.yaml`.
        objective: what it wants.
        begins_at: when it comes.
        ends_at: when it is over by itself, or None if it holds until another schedule begins.
    """

    schedule: str
    objective: Objective
    begins_at: float
    ends_at: float | None = None

    def holds_at(self, at: float) -> bool:
        """Whether it has come and is not over."""
        return self.begins_at <= at and (self.ends_at is None or at < self.ends_at)
