"""The objective in force, and those that wait underneath it for a temporary one to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.objective import Objective


@dataclass(frozen=True, slots=True)
class TemporaryObjective:
    """An objective with an end (`--for 8h`).

    Attributes:
        objective: what holds until then.
        until: wall-clock seconds since the epoch.
        before: the configuration to return to where the objective underneath has none of its own.
    """

    objective: Objective
    until: float
    before: Mapping[str, KnobValue]


@dataclass(frozen=True, slots=True)
class StandingObjectives:
    """A stack: one objective without an end, and temporary ones over it, the latest last."""

    lasting: Objective
    temporary: tuple[TemporaryObjective, ...] = ()

    @property
    def in_force(self) -> Objective:
        """The objective that decides now."""
        return self.temporary[-1].objective if self.temporary else self.lasting

    @property
    def until(self) -> float | None:
        """When the one in force ends, or None if it stays."""
        return self.temporary[-1].until if self.temporary else None

    def with_lasting(self, objective: Objective) -> StandingObjectives:
        """An objective without an end replaces everything, also what waited underneath."""
        return StandingObjectives(objective)

    def with_temporary(self, objective: Objective, until: float, before: Mapping[str, KnobValue]) -> StandingObjectives:
        """A temporary objective goes on top."""
        return replace(self, temporary=(*self.temporary, TemporaryObjective(objective, until, before)))

    def expired(self, now: float) -> tuple[StandingObjectives, Mapping[str, KnobValue] | None]:
        """Without the objectives whose end has come.

        An objective that ends underneath another hands down what to return to, so that the configuration of an
        objective that is over never comes back.

        Returns:
            What stands now, and the configuration to return to if the objective in force was among those that
            ended, else None.
        """
        kept: list[TemporaryObjective] = []
        inherited: Mapping[str, KnobValue] | None = None
        for hold in self.temporary:
            before = hold.before if inherited is None else inherited
            if hold.until <= now:
                inherited = before
            else:
                kept.append(replace(hold, before=before))
                inherited = None
        return replace(self, temporary=tuple(kept)), inherited
