"""What to try next: noisy expected hypervolume improvement over the exact enumeration of candidates.

Every draw of the surrogates is one possible world: in it, the front of what was tried is known without noise, and so is
what each candidate would add. The average over worlds is the expected improvement (Daulton et al. 2021, Parallel
Bayesian Optimization of Multiple Noisy Objectives with Expected Hypervolume Improvement). Worlds in which a
configuration breaks the SLO count nothing for it; the probability that it boots at all multiplies the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.surrogate.draws import draw_values
from reconfigure_policies.surrogate.errors import ObjectiveNotMeasured
from reconfigure_policies.surrogate.fitted import FittedSurrogates
from reconfigure_policies.surrogate.gaussian_process import Array
from reconfigure_policies.surrogate.improvement import area_of, front_of, gains
from reconfigure_policies.surrogate.interface import CostOfTrial, Suggestion, Suggestions
from reconfigure_policies.surrogate.options import SuggestOptions
from reconfigure_policies.surrogate.pareto import estimate_of
from reconfigure_policies.surrogate.trials import Quantity

#: Thompson sampling looks at one world for each suggestion, and at least at so many to say what remains.
THOMPSON_WORLDS = 16

#: The reference point lies this share of the front's extent beyond its worst values, where none is given.
BEYOND_THE_WORST = 0.1


@dataclass
class Worlds:
    """Draws of the objectives of candidates and of what was tried.

    Attributes:
        points: `s x m x 2` gains of candidates over the reference point, all maximised; what breaks the SLO is at 0.
        fronts: `s` fronts of what was tried and chosen.
        reference: of the objectives, in their units.
    """

    points: Array
    fronts: list[Array]
    reference: tuple[float, ...]

    def improvements(self) -> Array:
        """What each candidate adds in each world, `s x m`."""
        return np.array([gains(points, front) for points, front in zip(self.points, self.fronts, strict=True)])

    def choose(self, candidate: int) -> None:
        """Let a candidate be tried in every world."""
        self.fronts = [
            front_of(np.vstack([front, points[candidate]]))
            for front, points in zip(self.fronts, self.points, strict=True)
        ]


def suggest_trials(
    surrogates: FittedSurrogates,
    candidates: Sequence[Configuration],
    context: WorkloadContext,
    slo: ServiceLevelObjective,
    batch: int,
    options: SuggestOptions,
    cost_j_of: CostOfTrial | None,
    enforced: Configuration | None,
) -> Suggestions:
    """See `reconfigure_policies.surrogate.suggest`."""
    check_objectives(surrogates, options)
    open_, left_out = _open_candidates(surrogates, candidates, context, options)
    tried = _tried(surrogates)
    worlds, success = draw_worlds(surrogates, open_, tried, context, slo, options, batch)
    hypervolume = float(np.mean([area_of(front) for front in worlds.fronts]))
    chosen: list[Suggestion] = []
    taken: list[int] = []
    remaining = 0.0
    before = enforced
    for number in range(min(batch, len(open_))):
        improvements = worlds.improvements()
        expected = improvements.mean(axis=0) * success
        if number == 0:
            remaining = float(expected.max()) / hypervolume if hypervolume > 0 else 1.0
        scores = expected if options.method == "nehvi" else improvements[number % len(improvements)] * success
        costs = _costs(cost_j_of, before, open_)
        best = _best(scores, costs, taken, success)
        forecast = surrogates.forecast([open_[best]], context)[0]
        cost_j = None if costs is None else float(costs[best])
        holds = float((worlds.points[:, best, :] > 0).all(axis=1).mean()) if slo_limits(slo) else 1.0
        suggestion = Suggestion(forecast, float(expected[best]), float(success[best]) * holds, cost_j)
        chosen.append(_explained(suggestion, hypervolume, options))
        taken.append(best)
        before = open_[best]
        worlds.choose(best)
    return Suggestions(tuple(chosen), worlds.reference, hypervolume, remaining, left_out)


def draw_worlds(
    surrogates: FittedSurrogates,
    candidates: Sequence[Configuration],
    tried: Sequence[Configuration],
    context: WorkloadContext,
    slo: ServiceLevelObjective,
    options: SuggestOptions,
    batch: int,
) -> tuple[Worlds, Array]:
    """Draw all quantities that matter, and the probability that each candidate boots."""
    generator = np.random.default_rng(options.seed)
    count = options.samples if options.method == "nehvi" else max(batch, THOMPSON_WORLDS)
    inputs, features = surrogates.knobs([surrogates.effective(each) for each in (*tried, *candidates)])
    values = {
        quantity: draw_values(
            surrogates.models[quantity],
            *surrogates.encodings[quantity].with_workload(inputs, features, [context]),
            count,
            generator,
        )
        for quantity in dict.fromkeys([*options.objectives, *slo_limits(slo)])
        if quantity in surrogates.models
    }
    signs = np.array([1.0 if quantity.is_maximised else -1.0 for quantity in options.objectives])
    objectives = np.stack([values[quantity] for quantity in options.objectives], axis=2)
    holds = np.ones(objectives.shape[:2], dtype=np.bool_)
    for quantity, limit in slo_limits(slo).items():
        if quantity in values:
            holds &= values[quantity] <= limit
    reference = options.reference_point or _reference_point(surrogates, tried, context, options.objectives)
    points = _two((objectives - np.array(reference)) * signs) * holds[:, :, None]
    fronts = [front_of(each[: len(tried)]) for each in points]
    success = surrogates.probability_of_feasibility((inputs[len(tried) :], features[len(tried) :]), context)
    return Worlds(points[:, len(tried) :], fronts, tuple(reference)), success


def check_objectives(surrogates: FittedSurrogates, options: SuggestOptions) -> None:
    """One or two objectives, all of them measured.

    Raises:
        ObjectiveNotMeasured: if a trial has measured none of them.
        ValueError: if they are neither one nor two, or the method is unknown.
    """
    if not 1 <= len(options.objectives) <= 2:
        raise ValueError(f"found {len(options.objectives)} objectives; the front has one or two")
    if options.method not in ("nehvi", "thompson"):
        raise ValueError(f"found the method {options.method!r}; there are nehvi and thompson")
    for quantity in options.objectives:
        if quantity not in surrogates.models:
            raise ObjectiveNotMeasured(quantity, [str(each) for each in surrogates.quantities])


def slo_limits(slo: ServiceLevelObjective) -> dict[Quantity, float]:
    """The limits that a forecast can be held against."""
    limits = {Quantity.TTFT: slo.ttft_s, Quantity.TPOT: slo.tpot_s}
    return {quantity: limit for quantity, limit in limits.items() if limit is not None}


def _open_candidates(
    surrogates: FittedSurrogates,
    candidates: Sequence[Configuration],
    context: WorkloadContext,
    options: SuggestOptions,
) -> tuple[list[Configuration], dict[str, int]]:
    """Candidates that differ to the engine and were not tried, and how many are left out for which reason."""
    failed = {surrogates.effective(t.configuration) for t in surrogates.trials if not t.feasible}
    tried = {surrogates.effective(t.configuration) for t in surrogates.trials if _same_workload(t.context, context)}
    found: dict[Configuration, Configuration] = {}
    left_out = {"the same to the engine as another": 0, "failed before": 0, "tried before": 0}
    for candidate in candidates:
        key = surrogates.effective(candidate)
        if key in failed:
            left_out["failed before"] += 1
        elif key in tried and not options.may_repeat:
            left_out["tried before"] += 1
        elif key in found:
            left_out["the same to the engine as another"] += 1
        else:
            found[key] = candidate
    return list(found.values()), {reason: count for reason, count in left_out.items() if count}


def _same_workload(one: WorkloadContext, other: WorkloadContext) -> bool:
    """Whether two workloads differ by less than a quarter in everything that is asked."""
    pairs = (
        (one.arrival_rate_rps, other.arrival_rate_rps),
        (one.prompt_tokens, other.prompt_tokens),
        (one.output_tokens, other.output_tokens),
    )
    return all(max(a, b) <= 1.25 * min(a, b) or a == b for a, b in pairs)


def _tried(surrogates: FittedSurrogates) -> list[Configuration]:
    """One configuration for each that was measured."""
    measured = [trial for trial in surrogates.trials if trial.measured]
    return list({surrogates.effective(trial.configuration): trial.configuration for trial in measured}.values())


def _reference_point(
    surrogates: FittedSurrogates,
    tried: Sequence[Configuration],
    context: WorkloadContext,
    objectives: Sequence[Quantity],
) -> tuple[float, ...]:
    """A little worse than the worst of what was tried, by its forecasts."""
    forecasts = surrogates.forecast(tried, context)
    reference = []
    for quantity in objectives:
        known = [each.median for forecast in forecasts if (each := estimate_of(forecast, quantity)) is not None]
        low, high = min(known), max(known)
        margin = BEYOND_THE_WORST * max(high - low, 0.01 * high)
        reference.append(low - margin if quantity.is_maximised else high + margin)
    return tuple(reference)


def _two(gains_over_reference: Array) -> Array:
    """Two objectives; where there is one, the second is the same for all."""
    if gains_over_reference.shape[2] == 2:
        return gains_over_reference
    return np.concatenate([gains_over_reference, np.ones_like(gains_over_reference)], axis=2)


def _costs(
    cost_j_of: CostOfTrial | None, before: Configuration | None, candidates: Sequence[Configuration]
) -> Array | None:
    if cost_j_of is None:
        return None
    return np.array([max(cost_j_of(before or candidate, candidate), 1e-9) for candidate in candidates])


def _best(scores: Array, costs: Array | None, taken: Sequence[int], success: Array) -> int:
    """The highest score, per joule where joules are given; where nothing gains, the most likely to succeed."""
    merit = scores if costs is None else scores / costs
    if not (merit > 0).any():
        merit = success * 1e-12
    merit = merit.copy()
    merit[list(taken)] = -np.inf
    return int(merit.argmax())


def _explained(suggestion: Suggestion, hypervolume: float, options: SuggestOptions) -> Suggestion:
    forecast = suggestion.forecast
    share = f"{100 * suggestion.gain / hypervolume:.2g} % of the front's hypervolume" if hypervolume > 0 else "a front"
    known = [(quantity, estimate_of(forecast, quantity)) for quantity in options.objectives]
    expected = ", ".join(
        f"{quantity} {each.median:.3g} ({each.low:.3g} to {each.high:.3g})" for quantity, each in known if each
    )
    cost = "" if suggestion.cost_j is None else f" for {suggestion.cost_j:.3g} J"
    reason = f"Expected to add {share}{cost}: {expected}; works with probability {suggestion.success:.2f}."
    return Suggestion(forecast, suggestion.gain, suggestion.success, suggestion.cost_j, reason)
