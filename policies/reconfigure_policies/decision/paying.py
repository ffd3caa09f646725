"""Whether a redeploy pays: what it saves while the workload stays, against what switching was measured to cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.domain.history import SwitchMeasurement
from reconfigure_policies.domain.objective import Objective

#: A fresh core's empty prefix cache is taken to be as full as the old one after this long.
_CACHE_REFILL_S = 300.0


@dataclass(frozen=True, slots=True)
class SwitchCost:
    """What a cold switch takes.

    Attributes:
        duration_s: from the start of the action to its end.
        energy_j: of all devices in that time, serving included; None if it was never metered.
        stall_s: the pause that 95 of 100 streams stay below.
        basis: where the numbers come from.
        while_serving: whether anything was served meanwhile, so that serving is in the joules.
    """

    duration_s: float
    energy_j: float | None
    stall_s: float
    basis: str
    while_serving: bool = True

    def beyond_serving_j(self, power_w: float) -> float:
        """What it takes more than serving on at a power would take for as long.

        Joules of switches while nothing was served say only that it is at most so much; without a meter, all that
        serving would take is taken as one more.
        """
        if self.energy_j is None:
            return power_w * self.duration_s
        return max(0.0, self.energy_j - power_w * self.duration_s) if self.while_serving else self.energy_j


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it pays, with the numbers as a clause."""

    pays: bool
    words: str


def switch_cost(past: Sequence[SwitchMeasurement], terms: DecisionTerms) -> SwitchCost:
    """Medians of past switches; before any, as long as the terms assume, with every stream standing still for it.

    What a switch takes beyond serving shows only where something is served: those that moved no stream, as between
    trials, stand in with all their joules until one has.
    """
    if not past:
        return SwitchCost(terms.assumed_switch_s, None, terms.assumed_switch_s, "no switch measured yet")
    under_load = [switch for switch in past if switch.moved_streams]
    past = under_load or past
    energies = [switch.energy_j for switch in past if switch.energy_j is not None]
    stalls = [switch.stall_p95_s for switch in past if switch.stall_p95_s is not None]
    switches = "1 switch" if len(past) == 1 else f"{len(past)} switches"
    duration_s = median(switch.duration_s for switch in past)
    energy_j = median(energies) if energies else None
    basis = f"median of {switches}{'' if under_load else ' that moved no stream, all their joules'}"
    return SwitchCost(duration_s, energy_j, median(stalls) if stalls else 0.0, basis, bool(under_load))


def judge(
    now: Forecast, then: Forecast, share: float, cost: SwitchCost, stay_s: float, objective: Objective
) -> Verdict:
    """Whether to redeploy.

    Args:
        now: the present configuration.
        then: the other one, under the same workload.
        share: of the objective's cost that it saves.
        cost: of the switch.
        stay_s: how long it may last.
        objective: throughput is judged in tokens, everything else in joules.
    """
    if objective is Objective.THROUGHPUT:
        return _in_tokens(now, then, cost, stay_s)
    return _in_joules(now, share, cost, stay_s)


def _in_joules(now: Forecast, share: float, cost: SwitchCost, stay_s: float) -> Verdict:
    energy, context = now.energy_per_output_token_j, now.context
    if energy is None:
        return Verdict(False, "joules are not known, so that nothing tells whether it pays")
    power_w = energy.median * context.arrival_rate_rps * context.output_tokens
    saved_j = share * power_w * stay_s
    cost_j = cost.beyond_serving_j(power_w) + _emptied_cache_j(context, power_w)
    compared = (
        f"{_joules(saved_j)} saved in {stay_s / 60:.0f} min against {_joules(cost_j)} for the switch ({cost.basis})"
    )
    return Verdict(saved_j > cost_j, compared)


def _emptied_cache_j(context: WorkloadContext, power_w: float) -> float:
    """Cached prompt tokens that must be computed again, each at the mean joules of a token that is computed now."""
    hits = context.prefix_hit_share * context.prompt_tokens
    computed = context.prompt_tokens - hits + context.output_tokens
    return power_w * _CACHE_REFILL_S * hits / computed if computed > 0 else 0.0


def _in_tokens(now: Forecast, then: Forecast, cost: SwitchCost, stay_s: float) -> Verdict:
    if now.throughput_tps is None or then.throughput_tps is None:
        return Verdict(False, "the capacity is not known, so that nothing tells whether it pays")
    won = (then.throughput_tps.median - now.throughput_tps.median) * stay_s
    lost = now.throughput_tps.median * cost.stall_s
    compared = (
        f"room for {won:.3g} tokens won in {stay_s / 60:.0f} min against {lost:.3g} lost by the switch ({cost.basis})"
    )
    return Verdict(won > lost, compared)


def _joules(joules: float) -> str:
    return f"{joules / 1000:.3g} kJ" if abs(joules) >= 1000 else f"{joules:.3g} J"
