"""The canary: a redeploy is watched, and what then happens is held against what was forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconfigure_policies.decision.misses import LEAST_REQUESTS, chance, is_disaster, misses, misses_words
from reconfigure_policies.decision.objectives import estimate_words
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.history import Canary
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import WorkloadWindow

#: Where too few requests finish to judge by, the canary waits for more, at most so many times its length.
_LONGEST = 3


class Verdict(StrEnum):
    """`watching` needs more windows; `held` is as forecast; `fell_short` is not, and is undone."""

    WATCHING = "watching"
    HELD = "held"
    FELL_SHORT = "fell_short"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a canary so far, in a clause with its numbers.

    Attributes:
        energy_per_output_token_j: as measured; None without energy or tokens.
    """

    verdict: Verdict
    words: str
    energy_per_output_token_j: float | None = None


def judge(
    canary: Canary,
    windows: Sequence[WorkloadWindow],
    expected: Mapping[str, Estimate],
    slo: ServiceLevelObjective,
    terms: DecisionTerms,
) -> Judgement:
    """Hold what was measured against what was forecast.

    Args:
        canary: what is watched.
        windows: complete ones since it was applied, none of them mixed with another configuration.
        expected: of it under the workload of these windows, forecast anew; what was forecast before the redeploy where
            it could not be.
        slo: what requests must meet.
        terms: how long to watch.
    """
    watched_s = sum(window.duration_s for window in windows)
    failed, finished = misses(windows)
    energy_j = _energy_per_output_token_j(windows)
    if _has_limits(slo) and is_disaster(windows):
        return Judgement(Verdict.FELL_SHORT, misses_words(windows), energy_j)
    if watched_s < terms.canary_s or (finished < LEAST_REQUESTS and watched_s < _LONGEST * terms.canary_s):
        return Judgement(Verdict.WATCHING, f"watched for {watched_s:.0f} s of {terms.canary_s:g} s", energy_j)
    if finished < LEAST_REQUESTS:
        words = f"only {finished} requests finished in {watched_s:.0f} s, too few to judge it by"
        return Judgement(Verdict.HELD, words, energy_j)
    allowed = (1 - slo.attainment) * finished
    if _has_limits(slo) and failed > allowed + chance(finished, 1 - slo.attainment) + 1:
        return Judgement(Verdict.FELL_SHORT, misses_words(windows), energy_j)
    return _energy_judgement(expected.get("energy_per_output_token_j"), energy_j, watched_s, finished)


def _energy_judgement(expected: Estimate | None, energy_j: float | None, watched_s: float, finished: int) -> Judgement:
    if expected is None or energy_j is None:
        words = f"{finished} requests in {watched_s:.0f} s held the SLO; no joules were forecast or measured"
        return Judgement(Verdict.HELD, words, energy_j)
    compared = (
        f"{energy_j:.3g} J per output token measured over {watched_s:.0f} s, {estimate_words(expected)} were forecast"
    )
    verdict = Verdict.FELL_SHORT if energy_j > expected.high else Verdict.HELD
    return Judgement(verdict, compared, energy_j)


def _energy_per_output_token_j(windows: Sequence[WorkloadWindow]) -> float | None:
    metered = [window for window in windows if window.energy_j is not None]
    tokens = sum(window.output_tokens for window in metered)
    return sum(window.energy_j or 0.0 for window in metered) / tokens if tokens else None


def _has_limits(slo: ServiceLevelObjective) -> bool:
    return any(limit is not None for limit in (slo.ttft_s, slo.tpot_s, slo.e2e_latency_s))
