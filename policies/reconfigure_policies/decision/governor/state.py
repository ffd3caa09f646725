"""What the governor remembers from one sample to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median

from reconfigure_policies.decision.governor.limits import GovernorLimits
from reconfigure_policies.decision.governor.load import Load
from reconfigure_policies.decision.governor.sample import EngineSample
from reconfigure_policies.decision.governor.search import Search
from reconfigure_policies.decision.governor.tails import Tails
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import RequestRecord
from reconfigure_policies.step_cost import Setting, StepCostModel
from reconfigure_policies.step_cost.step_time import StepTimeModel

#: Least time between a change and one that slows down.
SHORTEST_HOLD_S = 5.0
_LONGEST_HOLD_S = 300.0

#: Arrival rates within this factor are the same load: to turn round under it is to oscillate.
_SAME_LOAD = 1.3

#: After a broken tail, this much less of the allowance is used ...
_CAUTION = 0.85
#: ... for at least this long, and twice as long after every further one.
_CAUTIOUS_S = 60.0
_MOST_CAUTIOUS_S = 1800.0


@dataclass(frozen=True, slots=True)
class GovernorState:
    """Everything that one call of `govern` leaves for the next. Times count from the first sample.

    Attributes:
        model: what steps cost; keep `known` per core configuration, and start a core of the same kind with it.
        clock_mhz: the GPUs' clock that `model` is of.
        elsewhere: models of other clocks that were tried, by clock.
        load: what arrives.
        slo: what `tails` were measured against; None before the first sample.
        tails: measured latencies since the last change.
        elapsed_s: the time now.
        changed_s: when the setting was last changed.
        changed_at_s: the same on the host's clock: requests that arrived earlier say nothing of the setting.
        calm_from_s: nothing is slowed down before this time.
        hold_s: time between a change and one that slows down; doubles with every turn under the same load.
        slowed: whether the last change slowed down.
        changed_rps: the arrival rate at the last change, of each replica.
        near_s: when a request last came too near to a limit.
        searched_s: when the whole space was last searched.
        caution: share of the latencies' allowance that is used.
        cautious_until_s, cautious_s: when more of it is tried again, and how long the next such wait is.
        waiting: requests that waited at the last sample, at each replica.
        unmet: why no setting holds the service level, or None.
    """

    model: StepCostModel = field(default_factory=StepCostModel)
    clock_mhz: int = 0
    elsewhere: Mapping[int, StepCostModel] = field(default_factory=dict)
    load: Load = field(default_factory=Load)
    slo: ServiceLevelObjective | None = None
    tails: Tails = field(default_factory=Tails)
    elapsed_s: float = 0.0
    changed_s: float = 0.0
    changed_at_s: float = -inf
    calm_from_s: float = 0.0
    hold_s: float = SHORTEST_HOLD_S
    slowed: bool = False
    changed_rps: float = 0.0
    near_s: float = -inf
    searched_s: float = -inf
    caution: float = 1.0
    cautious_until_s: float = 0.0
    cautious_s: float = _CAUTIOUS_S
    waiting: float = 0
    unmet: str | None = None

    @classmethod
    def knowing(cls, models: Mapping[int, StepCostModel], changed_at_s: float) -> GovernorState:
        """For another core, with what is known of cores of its kind by clock; which is its own, the first sample tells.

        Args:
            models: see `known`.
            changed_at_s: on the host's clock: requests that arrived earlier say nothing of the core.
        """
        elsewhere = dict(models)
        model = elsewhere.pop(0, StepCostModel())
        return cls(model=model, elsewhere=elsewhere, changed_at_s=changed_at_s)

    def after(self, sample: EngineSample, setting: Setting, limits: GovernorLimits) -> GovernorState:
        """With another sample, taken under a setting."""
        if limits.slo != self.slo:
            return self.under(limits.slo, sample.ended_s).after(sample, setting, limits)
        if setting.gpu_clock_mhz != self.clock_mhz:  # a sample of two clocks says nothing of either
            return self.at_clock(setting.gpu_clock_mhz).after(replace(sample, steps=None), setting, limits)
        records = [record for record in sample.records if record.arrived_s >= self.changed_at_s]
        model = self.model
        if sample.steps is not None:
            model = model.learned(sample.duration_s, sample.steps, sample.energy_j)
        now_s = self.elapsed_s + sample.duration_s
        tails = self.tails.after(records, limits.slo, limits.margin, sample.duration_s)
        state = replace(
            self,
            model=model,
            load=self.load.after(sample),
            tails=tails,
            near_s=now_s if tails.near > self.tails.near else self.near_s,
            elapsed_s=now_s,
            waiting=sample.waiting,
        )
        return state.with_ttft(records, setting, limits).less_cautious()

    def under(self, slo: ServiceLevelObjective, now_s: float) -> GovernorState:
        """Judged by other limits: what requests got while other ones were to be held says nothing of these.

        Args:
            slo: from now on.
            now_s: on the host's clock.
        """
        if self.slo is None:
            return replace(self, slo=slo)
        return replace(
            self,
            slo=slo,
            tails=Tails(),
            changed_at_s=now_s,
            hold_s=SHORTEST_HOLD_S,
            caution=1.0,
            cautious_s=_CAUTIOUS_S,
        )

    def changed(self, setting_slows: bool, sample: EngineSample) -> GovernorState:
        """After a change of the setting; whoever turns round under the same load waits longer the next time."""
        rate_rps = self.load.recent_rps.mean
        same_load = max(rate_rps, self.changed_rps) <= _SAME_LOAD * min(rate_rps, self.changed_rps)
        hold_s = self.hold_s if same_load else SHORTEST_HOLD_S
        if same_load and setting_slows != self.slowed:
            hold_s = min(2 * hold_s, _LONGEST_HOLD_S)
        return replace(
            self,
            tails=Tails(),
            changed_s=self.elapsed_s,
            changed_at_s=sample.ended_s,
            hold_s=hold_s,
            slowed=setting_slows,
            changed_rps=rate_rps,
        )

    def more_cautious(self) -> GovernorState:
        """After measured tails came too near to their limits."""
        return replace(
            self,
            caution=self.caution * _CAUTION,
            cautious_until_s=self.elapsed_s + self.cautious_s,
            cautious_s=min(2 * self.cautious_s, _MOST_CAUTIOUS_S),
        )

    def at_clock(self, clock_mhz: int) -> GovernorState:
        """With what is known of steps at another clock; of one that was never tried, what is known here of joules."""
        known = dict(self.known)
        model = known.pop(clock_mhz, None) or replace(
            self.model, time=StepTimeModel(), energy=self.model.energy.as_first_belief()
        )
        return replace(self, model=model, clock_mhz=clock_mhz, elsewhere=known)

    def search(self, limits: GovernorLimits) -> Search:
        """A search by what is known now, at the clock of now."""
        return Search(self.model, self.load, limits.at(self.clock_mhz), self.caution)

    def search_at(self, clock_mhz: int, limits: GovernorLimits) -> Search | None:
        """The same at another clock; None if that was never tried for long enough."""
        model = self.model if clock_mhz == self.clock_mhz else self.elsewhere.get(clock_mhz)
        if model is None or not (model.is_learned and model.energy.is_learned):
            return None
        return Search(model, self.load, limits.at(clock_mhz), self.caution)

    def fastest_search(self, limits: GovernorLimits) -> Search:
        """The same at the fastest clock, or at the clock of now where that is not known."""
        return self.search_at(limits.fastest_mhz, limits) or self.search(limits)

    def stretched_search(self, slower_mhz: int, limits: GovernorLimits) -> Search:
        """What is sure at a slower clock that was never tried: every step longer by as much as the clock is slower."""
        stretched = self.model.stretched(limits.slowdown(self.clock_mhz, slower_mhz))
        return Search(stretched, self.load, limits.at(slower_mhz), self.caution)

    @property
    def known(self) -> Mapping[int, StepCostModel]:
        """What steps cost at every clock that was tried, to start another core of the same kind with."""
        return {**self.elsewhere, self.clock_mhz: self.model}

    @property
    def may_slow_down(self) -> bool:
        """Whether enough time has passed since the last change and the last alarm."""
        return self.elapsed_s >= max(self.calm_from_s, self.changed_s + self.hold_s)

    @property
    def is_ready(self) -> bool:
        """Whether load and steps have been seen for long enough to predict anything."""
        return self.elapsed_s >= SHORTEST_HOLD_S and self.load.is_known and self.model.is_learned

    def with_ttft(self, records: list[RequestRecord], setting: Setting, limits: GovernorLimits) -> GovernorState:
        """Learn what a first token takes beyond the engine's own steps."""
        measured = [record.ttft_s for record in records if record.ttft_s is not None]
        if not measured or not self.is_ready:
            return self
        predicted_s = self.search(limits).expected(setting).ttft_s
        if predicted_s == inf:
            return self
        weight = min(0.2, 0.02 * len(measured))
        return replace(self, model=self.model.with_ttft(median(measured), predicted_s, weight))

    def less_cautious(self) -> GovernorState:
        """With a little more of the allowance again, once the time for it has come."""
        if self.caution == 1 or self.elapsed_s < self.cautious_until_s:
            return self
        caution = min(1.0, self.caution / _CAUTION)
        return replace(self, caution=caution, cautious_until_s=self.elapsed_s + self.cautious_s)
