"""The governor's reasons in words, each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from reconfigure_policies.decision.governor.limits import GovernorLimits
from reconfigure_policies.decision.governor.load import Load
from reconfigure_policies.decision.governor.search import Search
from reconfigure_policies.domain.configuration import KnobValue, format_value
from reconfigure_policies.step_cost import Setting, SteadyState


def change_words(before: Mapping[str, KnobValue], changes: Mapping[str, KnobValue]) -> str:
    """What changes: `pacing_interval_s from 0.01 to 0.03`."""
    return ", ".join(
        f"{name} from {format_value(before[name]) if name in before else 'unset'} to {format_value(value)}"
        for name, value in changes.items()
    )


def load_words(load: Load) -> str:
    """What arrives at all replicas."""
    return f"at {load.engine_rps:.3g} requests/s"


def cheaper_words(load: Load, limits: GovernorLimits, now: SteadyState, then: SteadyState) -> str:
    """What a change saves, and what it leaves of the service level."""
    saved = 1 - then.energy_per_output_token_j / now.energy_per_output_token_j
    held = f"TPOT below {_ms(then.tpot_tail_s)}"
    if limits.slo.tpot_s is not None:
        held += f" of {_ms(limits.slo.tpot_s)}"
    return (
        f"{load_words(load)} it should cost {then.energy_per_output_token_j:.3g} J per output token instead of "
        f"{now.energy_per_output_token_j:.3g} ({saved:.0%} less) and keep {held}"
    )


def clock_words(load: Load, target: Setting, then: SteadyState, now: SteadyState) -> str:
    """What another clock saves, or that a slower one saved nothing."""
    there = f"{target.gpu_clock_mhz} MHz" if target.gpu_clock_mhz else "the cards' own clock"
    costs = f"{load_words(load)} {there} should cost {then.energy_per_output_token_j:.3g} J per output token"
    saved = 1 - then.energy_per_output_token_j / now.energy_per_output_token_j
    if saved < 0.01:
        return f"{costs}, and the slower clock saves nothing worth it: {now.energy_per_output_token_j:.3g}"
    return f"{costs} instead of {now.energy_per_output_token_j:.3g} ({saved:.0%} less)"


def trial_words(load: Load, clock_mhz: int) -> str:
    """Why a clock is tried of which nothing is known."""
    return (
        f"{load_words(load)} the service level holds at {clock_mhz} MHz even if every step took as much longer as the"
        " clock is slower; what steps cost there is not known yet"
    )


def unmet_words(search: Search, setting: Setting) -> str:
    """Which limit a setting would break, at the planned rate."""
    state = search.planned(setting)
    slo = search.limits.slo
    if state.tpot_tail_s == inf or state.utilisation > 1:
        return f"the queue would grow: {state.utilisation:.0%} of what the engine can take"
    if not search.holds_tpot(state) and slo.tpot_s is not None:
        return f"TPOT would come to {_ms(state.tpot_tail_s)} of {_ms(slo.tpot_s)}"
    if slo.ttft_s is not None and state.ttft_tail_s > search.allowed_s(slo.ttft_s):
        return f"TTFT would come to {_ms(state.ttft_tail_s)} of {_ms(slo.ttft_s)}"
    if not search.holds_e2e(state) and slo.e2e_latency_s is not None:
        return f"end-to-end latency would come near {_ms(slo.e2e_latency_s)}"
    return f"{state.utilisation:.0%} of what the engine can take would be in use"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.2g} ms"
