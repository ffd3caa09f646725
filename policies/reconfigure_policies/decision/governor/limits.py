"""What the governor may choose from, and what it must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from reconfigure_policies.domain.configuration import ConfigurationSpace, KnobValue
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.step_cost import Setting

#: A bound that the space does not name is not known here, and taken to be out of reach.
_UNBOUNDED = 1_000_000

#: A card that chooses its clock runs at most this much faster than the fastest clock of the space.
_HEADROOM = 1.5

#: The clock of the GPUs, which the governor moves where it is told to; 0 lets each card choose and is the fastest.
CLOCK = "gpu_clock_mhz"

#: Knobs that the governor moves, with the values of a space that does not have them.
GOVERNED_KNOBS: Mapping[str, tuple[KnobValue, ...]] = {
    "pacing_interval_s": (0.0,),
    "max_num_seqs": (_UNBOUNDED,),
    "max_num_batched_tokens": (_UNBOUNDED,),
}


def governed_knobs(*, with_clocks: bool) -> frozenset[str]:
    """Names of what the governor moves: whoever sets one of them by hand wants it to stay."""
    return frozenset(GOVERNED_KNOBS) | (frozenset({CLOCK}) if with_clocks else frozenset())


@dataclass(frozen=True, slots=True)
class GovernorLimits:
    """The space as the governor sees it, and the service level.

    Attributes:
        intervals_s: pacing intervals to choose from, shortest first.
        caps, budgets: running caps and token budgets, largest first.
        clocks_mhz: clocks of the GPUs, fastest first; `(0,)` where they are not governed.
        stock: what an ungoverned engine would run with: the shortest interval, the largest cap, the given budget. It
            is the fastest setting too: what is given back.
        slo: latencies to hold.
        margin: share of each latency that is kept free, 0 to 1.
        governed: the knobs among `governed_knobs` that the space has.
    """

    intervals_s: tuple[float, ...]
    caps: tuple[int, ...]
    budgets: tuple[int, ...]
    stock: Setting
    slo: ServiceLevelObjective
    margin: float
    governed: frozenset[str]
    clocks_mhz: tuple[int, ...] = (0,)

    @classmethod
    def of(
        cls,
        space: ConfigurationSpace,
        base: Mapping[str, KnobValue],
        slo: ServiceLevelObjective,
        margin: float = 0.05,
        *,
        with_clocks: bool = False,
    ) -> GovernorLimits:
        """Limits within a space.

        Args:
            space: knobs that it lacks are left alone.
            base: the configuration to govern around; its token budget is the one to start from.
            slo: latencies to hold.
            margin: share of each latency that is kept free.
            with_clocks: whether clocks may be chosen, if the space has them.
        """
        values = {name: space.knob(name).values if name in space else absent for name, absent in GOVERNED_KNOBS.items()}
        intervals_s = tuple(sorted(map(float, values["pacing_interval_s"])))
        caps, budgets = (
            tuple(sorted(map(int, values[name]), reverse=True)) for name in ("max_num_seqs", "max_num_batched_tokens")
        )
        budget = int(base.get("max_num_batched_tokens", budgets[0]))
        clocks_mhz: tuple[int, ...] = (0,)
        governed = frozenset(name for name in governed_knobs(with_clocks=with_clocks) if name in space)
        if CLOCK in governed:
            clocks_mhz = tuple(sorted(map(int, space.knob(CLOCK).values), key=lambda mhz: mhz or inf, reverse=True))
        stock = Setting(intervals_s[0], caps[0], budget, clocks_mhz[0])
        return cls(intervals_s, caps, budgets, stock, slo, margin, governed, clocks_mhz)

    def at(self, clock_mhz: int) -> GovernorLimits:
        """With another clock as the stock one: settings of that clock."""
        return replace(self, stock=replace(self.stock, gpu_clock_mhz=clock_mhz))

    @property
    def fastest_mhz(self) -> int:
        """The clock that is given back."""
        return self.clocks_mhz[0]

    def slower_mhz(self, clock_mhz: int) -> int | None:
        """The next lower clock; None below the lowest."""
        return next((mhz for mhz in self.clocks_mhz if 0 < mhz < (clock_mhz or inf)), None)

    def slowdown(self, clock_mhz: int, slower_mhz: int) -> float:
        """How much longer a step can take at a slower clock, at most: what only computes takes inversely longer.

        At 0 a card runs faster than the fastest clock that was named, but not by more than `_HEADROOM`.
        """
        return (clock_mhz or _HEADROOM * max(self.clocks_mhz)) / slower_mhz

    def setting_of(self, configuration: Mapping[str, KnobValue]) -> Setting:
        """The governed knobs of a configuration."""
        return Setting(
            float(configuration.get("pacing_interval_s", self.stock.pacing_interval_s)),
            int(configuration.get("max_num_seqs", self.stock.max_num_seqs)),
            int(configuration.get("max_num_batched_tokens", self.stock.max_num_batched_tokens)),
            int(configuration.get(CLOCK, self.stock.gpu_clock_mhz)) if CLOCK in self.governed else 0,
        )

    def changes(self, configuration: Mapping[str, KnobValue], setting: Setting) -> dict[str, KnobValue]:
        """What to change in a configuration for a setting; only knobs that the space has."""
        before = self.setting_of(configuration)
        return {
            name: getattr(setting, name)
            for name in sorted(self.governed)
            if getattr(setting, name) != getattr(before, name)
        }
