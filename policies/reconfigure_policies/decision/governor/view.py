"""What the governor can tell an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from reconfigure_policies.decision.governor.limits import GovernorLimits
from reconfigure_policies.decision.governor.search import Search
from reconfigure_policies.decision.governor.state import GovernorState
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.step_cost import Setting, SteadyState


@dataclass(frozen=True, slots=True)
class GovernorView:
    """The governor's state for `reconfigure status`.

    Attributes:
        ttft_headroom, tpot_headroom: share of the limit that the requests of the last minute left free at the demanded
            attainment, negative where they broke it; None without a limit or without requests.
        expected: what the present setting gets and costs by the model, where the engine has replicas each of them;
            None before it is learned, or past capacity.
        stock: the same for stock settings.
        saved: share of stock's energy that is saved.
        unmet: why no setting holds the service level, or None.
    """

    ttft_headroom: float | None
    tpot_headroom: float | None
    expected: SteadyState | None
    stock: SteadyState | None
    saved: float | None
    unmet: str | None


def view(state: GovernorState, configuration: Mapping[str, KnobValue], limits: GovernorLimits) -> GovernorView:
    """What to show while the engine was asked for this configuration."""
    q = limits.slo.attainment
    expected = _cost(state, state.search(limits), limits.setting_of(configuration))
    stock = stock_cost(state, limits)
    saved = None
    if expected is not None and stock is not None:
        saved = 1 - expected.energy_per_output_token_j / stock.energy_per_output_token_j
    ttft, tpot = state.tails.ttft.quantile(q), state.tails.tpot.quantile(q)
    return GovernorView(
        None if ttft is None else 1 - ttft, None if tpot is None else 1 - tpot, expected, stock, saved, state.unmet
    )


def stock_cost(state: GovernorState, limits: GovernorLimits) -> SteadyState | None:
    """What stock settings would get and cost at the load of the moment; None before the model is learned."""
    return _cost(state, state.fastest_search(limits), limits.stock)


def _cost(state: GovernorState, search: Search, setting: Setting) -> SteadyState | None:
    if not state.is_ready:
        return None
    expected = search.expected(setting)
    return expected if isfinite(expected.energy_per_output_token_j) else None
