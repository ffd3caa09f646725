"""What the governor may choose from, and what it must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconfigure_policies.domain.configuration import ConfigurationSpace, KnobValue
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.step_cost import Setting

#: A bound that the space does not name is not known here, and taken to be out of reach.
_UNBOUNDED = 1_000_000

#: Knobs that the governor moves, with the values of a space that does not have them.
GOVERNED_KNOBS: Mapping[str, tuple[KnobValue, ...]] = {
    "pacing_interval_s": (0.0,),
    "max_num_seqs": (_UNBOUNDED,),
    "max_num_batched_tokens": (_UNBOUNDED,),
}


@dataclass(frozen=True, slots=True)
class GovernorLimits:
    """The space as the governor sees it, and the service level.

    Attributes:
        intervals_s: pacing intervals to choose from, shortest first.
        caps, budgets: running caps and token budgets, largest first.
        stock: what an ungoverned engine would run with: the shortest interval, the largest cap, the given budget. It
            is the fastest setting too: what is given back.
        slo: latencies to hold.
        margin: share of each latency that is kept free, 0 to 1.
        governed: the knobs among `GOVERNED_KNOBS` that the space has.
    """

    intervals_s: tuple[float, ...]
    caps: tuple[int, ...]
    budgets: tuple[int, ...]
    stock: Setting
    slo: ServiceLevelObjective
    margin: float
    governed: frozenset[str]

    @classmethod
    def of(
        cls,
        space: ConfigurationSpace,
        base: Mapping[str, KnobValue],
        slo: ServiceLevelObjective,
        margin: float = 0.05,
    ) -> GovernorLimits:
        """Limits within a space.

        Args:
            space: knobs that it lacks are left alone.
            base: the configuration to govern around; its token budget is the one to start from.
            slo: latencies to hold.
            margin: share of each latency that is kept free.
        """
        values = {name: space.knob(name).values if name in space else absent for name, absent in GOVERNED_KNOBS.items()}
        intervals_s = tuple(sorted(map(float, values["pacing_interval_s"])))
        caps, budgets = (
            tuple(sorted(map(int, values[name]), reverse=True)) for name in ("max_num_seqs", "max_num_batched_tokens")
        )
        budget = int(base.get("max_num_batched_tokens", budgets[0]))
        stock = Setting(intervals_s[0], caps[0], budget)
        governed = frozenset(name for name in GOVERNED_KNOBS if name in space)
        return cls(intervals_s, caps, budgets, stock, slo, margin, governed)

    def setting_of(self, configuration: Mapping[str, KnobValue]) -> Setting:
        """The governed knobs of a configuration."""
        return Setting(
            float(configuration.get("pacing_interval_s", self.stock.pacing_interval_s)),
            int(configuration.get("max_num_seqs", self.stock.max_num_seqs)),
            int(configuration.get("max_num_batched_tokens", self.stock.max_num_batched_tokens)),
        )

    def changes(self, configuration: Mapping[str, KnobValue], setting: Setting) -> dict[str, KnobValue]:
        """What to change in a configuration for a setting; only knobs that the space has."""
        before = self.setting_of(configuration)
        return {
            name: getattr(setting, name)
            for name in sorted(self.governed)
            if getattr(setting, name) != getattr(before, name)
        }
