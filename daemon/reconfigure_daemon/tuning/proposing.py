"""What to try next: a Sobol design first, then what adds most to the front for each joule, grouped by core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from reconfigure_daemon.tuning.between import between_the_values, nearest_candidate
from reconfigure_policies import surrogate
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.surrogate import CostOfTrial, Suggestions, SuggestOptions, Surrogates

#: Trials that are chosen at once, so that those of one core can be put together.
BATCH = 4

#: Points between the values that a continuous session looks at.
_POINTS = 512

Suggest = Callable[
    [
        Surrogates,
        Sequence[Configuration],
        WorkloadContext,
        ServiceLevelObjective | None,
        int,
        SuggestOptions | None,
        CostOfTrial | None,
        Configuration | None,
    ],
    Suggestions,
]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to try.

    Attributes:
        configuration: every knob.
        by: who proposed it: `start`, `sobol`, or the acquisition function.
        forecast: what is expected of it; None where nothing was learned yet.
        reason: a clause.
    """

    configuration: Configuration
    by: str
    forecast: Forecast | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proposing:
    """Replaceable, so that sessions are tested without torch.

    Attributes:
        initial_design: see `surrogate.initial_design`.
        suggest: see `surrogate.suggest`.
    """

    initial_design: Callable[[Sequence[Configuration], ConfigurationSpace, int, int], tuple[Configuration, ...]] = (
        surrogate.initial_design
    )
    suggest: Suggest = surrogate.suggest

    def first(
        self,
        start: Configuration,
        candidates: Sequence[Configuration],
        space: ConfigurationSpace,
        count: int,
        seed: int,
    ) -> list[Proposal]:
        """Where the engine stands, for comparison, then a Sobol design that covers the space.

        Args:
            start: what is enforced.
            candidates: every configuration that may be tried.
            space: its knobs.
            count: of all.
            seed: of the design.
        """
        design = self.initial_design([each for each in candidates if each != start], space, max(0, count - 1), seed)
        sobol = [Proposal(each, "sobol", reason="to cover the space") for each in design]
        return [Proposal(start, "start", reason="for comparison"), *in_order_of_cores(sobol, space, start)]

    def next(
        self,
        surrogates: Surrogates,
        candidates: Sequence[Configuration],
        space: ConfigurationSpace,
        context: WorkloadContext,
        slo: ServiceLevelObjective,
        cost_j_of: CostOfTrial,
        enforced: Configuration,
        *,
        tried: Collection[Configuration],
        continuous: bool,
        seed: int,
    ) -> list[Proposal]:
        """A batch of what adds most to the front for each joule of trial and switch.

        Args:
            surrogates: fitted to all trials so far.
            candidates: every configuration that may be tried.
            space: its knobs.
            context: the session's workload.
            slo: constrains the outcome.
            cost_j_of: joules of a trial, the switch to it included.
            enforced: where the engine stands.
            tried: not to be tried again.
            continuous: choose among points between the values, then take the candidates next to them.
            seed: of what is drawn.
        """
        left = [each for each in candidates if each not in tried]
        if not left:
            return []
        pool: Sequence[Configuration] = between_the_values(space, _POINTS, seed) if continuous else left
        found = self.suggest(surrogates, pool, context, slo, BATCH, SuggestOptions(seed=seed), cost_j_of, enforced)
        chosen: list[Proposal] = []
        for suggestion in found.chosen:
            point = suggestion.forecast.configuration
            configuration = nearest_candidate(point, left, space) if continuous else point
            if configuration is not None and all(each.configuration != configuration for each in chosen):
                forecast = surrogates.forecast([configuration], context)[0] if continuous else suggestion.forecast
                chosen.append(Proposal(configuration, "nehvi", forecast, suggestion.reason))
        return in_order_of_cores(chosen, space, enforced)


def in_order_of_cores(
    proposals: Iterable[Proposal], space: ConfigurationSpace, enforced: Configuration
) -> list[Proposal]:
    """Proposals of one core one after the other, those of the running one first, so that few cores boot."""
    groups: dict[tuple[KnobValue, ...], list[Proposal]] = {space.cold_part(enforced): []}
    for proposal in proposals:
        groups.setdefault(space.cold_part(proposal.configuration), []).append(proposal)
    return [proposal for group in groups.values() for proposal in group]
