"""The setting that costs the least energy inside the service level, by the step-cost model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import inf

from reconfigure_policies.decision.governor.limits import GovernorLimits
from reconfigure_policies.decision.governor.load import Load
from reconfigure_policies.step_cost import Setting, SteadyState, StepCostModel, steady_state

#: Fullest that a bound may be at the rate that is planned for.
_FULLEST = 0.9

#: Settings this close to the cheapest one cost the same as far as anyone can tell; the fastest of them is taken.
_SAME_COST = 0.01

#: A TTFT that breaks its limit even unpaced is not pacing's fault while pacing lengthens it by less than this.
_SAME_TTFT = 1.05


@dataclass(frozen=True, slots=True)
class Search:
    """Judges settings under one load.

    Attributes:
        model, load, limits: what is known, what arrives, what must hold.
        caution: share of the latencies' allowance that may be used, lowered where measurements were worse than
            predictions.
        fastest: no pacing, the largest cap, and the largest token budget whose steps a decoding request can wait for:
            however many prompts arrive, TPOT holds. What is given back.
    """

    model: StepCostModel
    load: Load
    limits: GovernorLimits
    caution: float = 1.0
    fastest: Setting = field(init=False)

    def __post_init__(self) -> None:
        stock = self.limits.stock
        object.__setattr__(self, "fastest", replace(stock, max_num_batched_tokens=self._patient_budget(stock)))

    def expected(self, setting: Setting) -> SteadyState:
        """What a setting gets and costs at the rate of the moment."""
        return steady_state(self.model, self.load.workload(self.load.recent_rps.mean), setting)

    def planned(self, setting: Setting, growth: float = 1.0) -> SteadyState:
        """The same at the rate to be ready for, grown by a factor."""
        return steady_state(self.model, self.load.workload(self.load.planned_rps * growth), setting)

    def holds(self, setting: Setting, growth: float = 1.0) -> bool:
        """Whether a setting keeps the service level at the planned rate, even when it grows by a factor."""
        state = self.planned(setting, growth)
        if state.utilisation > _FULLEST:
            return False
        return self.holds_tpot(state) and self._holds_ttft(state, growth) and self.holds_e2e(state)

    def best(self, growth: float, slowest_s: float = inf) -> Setting | None:
        """The cheapest setting that holds; None if none does.

        Lower caps cost requests their place in the batch and save no energy. They are tried only where TPOT breaks
        its limit: there a full batch may be too slow.

        Args:
            growth: factor by which the planned rate may grow.
            slowest_s: longest pacing interval.
        """
        crowded = not self.holds_tpot(self.planned(self.fastest, growth))
        for cap in self.limits.caps if crowded else self.limits.caps[:1]:
            capped = replace(self.fastest, max_num_seqs=cap)
            paced = (replace(capped, pacing_interval_s=s) for s in self.limits.intervals_s if s <= slowest_s)
            holding = list(takewhile(lambda setting: self.holds(setting, growth), paced))  # slower ones do not either
            if holding:
                return self._cheapest(holding)
        return None

    def allowed_s(self, limit_s: float) -> float:
        """What of a latency's limit may be used."""
        return limit_s * (1 - self.limits.margin) * self.caution

    def holds_tpot(self, state: SteadyState) -> bool:
        """Whether TPOT's tail stays within its allowance, by as much as the prediction may be off."""
        limit_s = self.limits.slo.tpot_s
        return limit_s is None or state.tpot_tail_s * (1 + state.tpot_error) <= self.allowed_s(limit_s)

    def holds_e2e(self, state: SteadyState) -> bool:
        """Whether the longest answers end in time."""
        limit_s = self.limits.slo.e2e_latency_s
        longest_s = state.ttft_tail_s + self.load.output_tail_tokens * state.tpot_tail_s
        return limit_s is None or longest_s <= self.allowed_s(limit_s)

    def _holds_ttft(self, state: SteadyState, growth: float) -> bool:
        limit_s = self.limits.slo.ttft_s
        if limit_s is None or state.ttft_tail_s <= limit_s * (1 - self.limits.margin):
            return True
        if self.limits.stock.gpu_clock_mhz != self.limits.fastest_mhz:
            return False  # the clock's fault
        return state.ttft_tail_s <= _SAME_TTFT * self.planned(self.fastest, growth).ttft_tail_s

    def _cheapest(self, settings: Sequence[Setting]) -> Setting:
        """The fastest among those that cost the least; `settings` come fastest first."""
        costs_j = [self.expected(setting).energy_per_output_token_j for setting in settings]
        least_j = min(costs_j)
        return next(setting for setting, j in zip(settings, costs_j, strict=True) if j <= (1 + _SAME_COST) * least_j)

    def _patient_budget(self, stock: Setting) -> int:
        """The largest budget up to the stock one that keeps every step shorter than TPOT allows; else stock's.

        Caution does not count where it would leave none: longer steps are no remedy.
        """
        limit_s, budget = self.limits.slo.tpot_s, stock.max_num_batched_tokens
        if limit_s is None or not self.load.is_known or not self.model.time.knows_prefill:
            return budget
        workload = self.load.workload(self.load.planned_rps)
        batch = min(stock.max_num_seqs, workload.arrival_rate_rps * workload.output_tokens * self.allowed_s(limit_s))
        kv_tokens = batch * (workload.context_tokens + workload.output_tokens / 2)
        steps_s = {
            tokens: self.model.time.prefill_step_s(tokens - batch, batch, kv_tokens)
            for tokens in self.limits.budgets
            if batch < tokens <= budget
        }
        allowances_s = (self.allowed_s(limit_s), limit_s * (1 - self.limits.margin))
        patient = (tokens for most_s in allowances_s for tokens, step_s in steps_s.items() if step_s <= most_s)
        return next(patient, budget)
