"""What to do when there is an occasion to decide again: one decision with its reason, on forecasts and guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reconfigure_policies.decision.canary import Judgement, Verdict
from reconfigure_policies.decision.exploring import explore
from reconfigure_policies.decision.guardrails import Move, completed, move_between
from reconfigure_policies.decision.objectives import expectation, log_cost, saving
from reconfigure_policies.decision.own_changes import why_no_redeploy
from reconfigure_policies.decision.pareto import Ranked, Ranking, open_to_objective, rank, strained_by_configuration
from reconfigure_policies.decision.paying import SwitchCost, judge, switch_cost
from reconfigure_policies.decision.service_level import AS_MUCH, broken_limit, most_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Snapshot
from reconfigure_policies.domain.forecast import Forecast
from reconfigure_policies.domain.history import OwnChanges, SwitchMeasurement


def redecide(
    occasion: str,
    snapshot: Snapshot,
    space: ConfigurationSpace,
    terms: DecisionTerms,
    own: OwnChanges,
    past: Sequence[SwitchMeasurement],
) -> Decision:
    """Keep, adjust, redeploy or explore, each with its reason.

    Args:
        occasion: why now, as a clause, e.g. `the workload shifted: ...`.
        snapshot: with forecasts under the workload as it is now.
        space: what is allowed.
        terms: the guardrails' numbers.
        own: what the daemon changed so far.
        past: cold switches that were measured.
    """
    seen = open_to_objective(snapshot, space)
    return _Question(occasion, seen, space, terms, own, switch_cost(past, terms)).answer()


def after_canary_decision(
    judgement: Judgement,
    snapshot: Snapshot,
    space: ConfigurationSpace,
    own: OwnChanges,
    no_way_back: str | None = None,
) -> Decision:
    """What follows from a canary's end: it is kept, or undone whatever dwell and caps say.

    Args:
        judgement: any but `watching`.
        snapshot: with what is enforced.
        space: what is allowed.
        own: with the canary.
        no_way_back: the limit that what was before would not hold now; None where it would. One does not go back to
            what does not hold: what fell short may have inherited its queue.
    """
    canary, enforced = own.canary, completed(space, snapshot.enforced)
    assert canary is not None, "only a canary is judged"
    if judgement.verdict is Verdict.HELD:
        reason = f"Keep {enforced}: its canary held, {judgement.words}."
        return Decision(DecisionKind.KEEP, reason, enforced, author=Author.PLANNER)
    if no_way_back is not None:
        reason = (
            f"Keep {enforced}, although its canary fell short, {judgement.words}: what was before would not hold now, "
            f"{no_way_back}."
        )
        return Decision(DecisionKind.KEEP, reason, enforced, author=Author.PLANNER)
    move = move_between(space, snapshot.enforced, {n: v for n, v in canary.before.items() if n in space})
    if move.kind is DecisionKind.KEEP:
        reason = f"Keep {enforced}, although its canary fell short, {judgement.words}: it is what was there before."
        return Decision(DecisionKind.KEEP, reason, enforced, author=Author.PLANNER)
    back = f"{_verb(move)} {move}, back to what held before: the canary fell short, {judgement.words}."
    return Decision(move.kind, back, move.target, dict(move.hot), dict(move.cold), author=Author.PLANNER)


@dataclass(frozen=True)  # without slots, since what is asked for again and again is kept
class _Question:
    """One occasion with all that an answer needs."""

    occasion: str
    snapshot: Snapshot
    space: ConfigurationSpace
    terms: DecisionTerms
    own: OwnChanges
    cost: SwitchCost

    def answer(self) -> Decision:
        ranking = self.ranking
        if ranking.best is None:
            return self.keep(f"{ranking.refusal}")
        urgent = self.broken_now
        if urgent is None and self.snapshot.climbs:
            return self.keep("it holds that, and what saves is decided once the load has settled")
        better = [each for each in self.shortlist(ranking) if urgent or self.saved(each) >= self.terms.min_saving]
        if urgent is None and not better:
            return self.settled(ranking.best, len(ranking.eligible))
        held_back = []
        for best in better:
            decision, why_not = self.consider(best, urgent)
            if decision is not None:
                return decision
            held_back.append(why_not)
        return self.keep("; ".join([*([urgent] if urgent else []), *dict.fromkeys(held_back)]))

    @cached_property
    def enforced(self) -> Configuration:
        return completed(self.space, self.snapshot.enforced)

    @cached_property
    def effective(self) -> Configuration:
        """What is enforced, without values that make no difference."""
        return self.space.effective(self.enforced)

    @cached_property
    def core(self) -> tuple[KnobValue, ...]:
        """The present one, by its cold knobs."""
        return self.space.cold_part(self.effective)

    @cached_property
    def ranking(self) -> Ranking:
        seen = self.growing if self.snapshot.climbs else self.snapshot
        return rank(
            seen,
            self.terms,
            trusts=lambda each: self.own.trusts(each, self.snapshot.at),
            is_there=lambda each: self.space.cold_part(each) == self.core,
        )

    @cached_property
    def growing(self) -> Snapshot:
        """The snapshot without cores that could serve less than the present one: a load that climbs is left none of it.

        What a core could serve is foretold more surely than the tails at a rate that was not measured.
        """
        capacities: dict[tuple[KnobValue, ...], float] = {}
        for each in self.snapshot.forecasts:
            if each.throughput_tps is not None:
                core = self.space.cold_part(each.configuration)
                capacities[core] = max(each.throughput_tps.median, capacities.get(core, 0.0))
        least_tps = AS_MUCH * capacities.get(self.core, 0.0)
        less = {core for core, tps in capacities.items() if tps < least_tps}
        forecasts = (each for each in self.snapshot.forecasts if self.space.cold_part(each.configuration) not in less)
        return replace(self.snapshot, forecasts=tuple(forecasts))

    @cached_property
    def present(self) -> Forecast | None:
        """Of what is enforced; None where it may not be: constraints rule it out, or it is reserved for others."""
        return next((each for each in self.snapshot.forecasts if each.configuration == self.effective), None)

    @cached_property
    def within_reach(self) -> Ranked | None:
        """The best that may be chosen of the present one and what the governor makes of it by itself."""
        return next((each for each in self.ranking.eligible if self.is_within_reach(each)), None)

    @property
    def standing(self) -> Forecast | None:
        """What to compare with: the present one or, where the governor moves knobs, the best that is within its reach.

        Another core is foretold at a pace that surely holds the SLO. That the governor found a slower one to hold here
        tells the present core from no other: it would find one there, too.
        """
        return self.present if self.within_reach is None else self.within_reach.forecast

    @cached_property
    def broken_now(self) -> str | None:
        """The limit that what is enforced would not hold, other than what may be chosen; None while it holds."""
        if not self.space.is_open_to(self.enforced, self.snapshot.objective):
            return f"what is enforced is reserved for other objectives than {self.snapshot.objective}"
        if self.present is None:
            return "what is enforced is outside the space"
        if self.within_reach is not None:
            return None
        strained = strained_by_configuration(self.snapshot)
        there, most_tps = strained[self.present.configuration], most_of(strained.values())
        return broken_limit(there, self.snapshot.slo, most_tps=most_tps)

    def shortlist(self, ranking: Ranking) -> list[Ranked]:
        """The best of all; then the best that needs no new core, should a new one not be allowed. Never the present."""
        hot = next((each for each in ranking.eligible if not self.move_to(each).cold), None)
        chosen = [each for each in (ranking.best, hot) if each is not None]
        return [each for each in dict.fromkeys(chosen) if self.move_to(each).kind is not DecisionKind.KEEP]

    def consider(self, best: Ranked, urgent: str | None) -> tuple[Decision | None, str]:
        """The change to a candidate, or why it is not made."""
        move, present = self.move_to(best), self.standing
        then = expectation(best.forecast, self.snapshot.objective)
        if self.is_within_reach(best):
            return None, "the governor moves these hot knobs by itself"
        share = self.saved(best)
        why = f"{then} instead of {self.now_words()}, {share:.0%} saved" if urgent is None else f"{urgent}; {then}"
        if move.cold:
            refusal = why_no_redeploy(self.own, self.snapshot.at, self.terms, urgent=urgent is not None)
            if refusal is not None:
                return None, f"{best.forecast.configuration} would do better, {why}, but {refusal}"
            if urgent is None and present is not None:
                pays = judge(present, best.forecast, share, self.cost, self.stay_s, self.snapshot.objective)
                if not pays.pays:
                    return None, f"{move} would not pay: {pays.words}"
                why = f"{why}, {pays.words}"
        return self.change(move, best.forecast, why), ""

    def settled(self, best: Ranked, eligible: int) -> Decision:
        """Nothing is better by enough; perhaps something is worth trying."""
        if self.present is not None:
            trial = explore(self.snapshot, self.present, self.space, self.terms, self.own, self.cost)
            if trial is not None:
                return trial
        words = expectation(best.forecast, self.snapshot.objective)
        among = f"of {eligible} candidate{'s' if eligible > 1 else ''} that hold{'' if eligible > 1 else 's'} the SLO"
        if self.move_to(best).kind is DecisionKind.KEEP:
            return self.keep(f"{among} it is the best, {words}")
        if self.is_within_reach(best):
            return self.keep(f"{among} its core has the best, {words}, by what the governor may set")
        return self.keep(f"the best {among}, {words}, would save {self.saved(best):.1%}")

    def keep(self, why: str) -> Decision:
        expected = {} if self.present is None else self.present.estimates
        reason = f"Keep {self.enforced}: {why} (decided again since {self.occasion})."
        return Decision(DecisionKind.KEEP, reason, self.enforced, author=Author.PLANNER, expected=expected)

    def change(self, move: Move, forecast: Forecast, why: str) -> Decision:
        reason = f"{_verb(move)} {move}, since {self.occasion}: {why}."
        return Decision(
            move.kind,
            reason,
            move.target,
            dict(move.hot),
            dict(move.cold),
            author=Author.PLANNER,
            expected=forecast.estimates,
        )

    def move_to(self, ranked: Ranked) -> Move:
        """From the effective form of what is enforced, so that a value without effect is never changed for nothing."""
        target = ranked.forecast.configuration
        if self.effective == target:
            return move_between(self.space, self.snapshot.enforced, {})
        return move_between(self.space, self.snapshot.enforced, target)

    def is_within_reach(self, ranked: Ranked) -> bool:
        """Whether it is the present one, but for knobs that the governor moves by itself."""
        move = self.move_to(ranked)
        return not move.cold and set(move.hot) <= self.snapshot.governed

    def saved(self, ranked: Ranked) -> float:
        """Share of the objective's cost; everything where nothing is known of the present."""
        now = None if self.standing is None else log_cost(self.standing, self.snapshot.objective, self.terms)
        return 1.0 if now is None else saving(now, ranked.log_cost)

    def now_words(self) -> str:
        if self.standing is None:
            return "what is not known"
        words = expectation(self.standing, self.snapshot.objective)
        return (
            words
            if self.standing is self.present
            else f"{words}, each with the governor's knobs where they surely hold"
        )

    @property
    def stay_s(self) -> float:
        """How long a change may last: as workloads do, but not beyond the objective."""
        until = self.snapshot.objective_until
        left_s = self.terms.expected_stay_s if until is None else max(0.0, until - self.snapshot.at)
        return min(self.terms.expected_stay_s, left_s)


def _verb(move: Move) -> str:
    return "Redeploy for" if move.kind is DecisionKind.REDEPLOY else "Adjust"
