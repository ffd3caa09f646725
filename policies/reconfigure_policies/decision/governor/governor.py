"""One step of the governor: a sample in, a target and its reason out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

from reconfigure_policies.decision.governor.alarms import alarm
from reconfigure_policies.decision.governor.limits import GovernorLimits
from reconfigure_policies.decision.governor.reasons import (
    change_words,
    cheaper_words,
    clock_words,
    load_words,
    trial_words,
    unmet_words,
)
from reconfigure_policies.decision.governor.sample import EngineSample
from reconfigure_policies.decision.governor.search import Search
from reconfigure_policies.decision.governor.state import GovernorState
from reconfigure_policies.decision.governor.tails import Latency
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.step_cost import Setting, SteadyState, StepCostModel

#: After an alarm nothing is slowed down for this long: a surge that lasts is served at full speed until it is the rule.
_CALM_S = 20.0

#: What broke a tail is over when no request came near its limit for this long.
_OVER_S = 5.0

#: Searches of the whole space are this far apart.
_SEARCH_S = 5.0

#: Arrivals may grow by this factor before a setting that is slowed down to no longer holds.
_GROWTH = 1.3

#: Least share of the energy that a change must save, and once nothing was changed for a while.
_WORTH, _WORTH_AT_REST = 0.03, 0.01
_AT_REST_S = 30.0

#: How many values the pace may slow down at once while energy predictions are unproven or off by more than this.
_UNPROVEN_VALUES, _PROVEN_ERROR = 2, 0.1


@dataclass(frozen=True, slots=True)
class Governed:
    """What the governor wants.

    Attributes:
        state: for the next call.
        changes: hot knobs to set now; empty to leave everything as it is.
        reason: one sentence with its numbers; "" without changes, but for news that no setting holds the service
            level, or that one does again.
    """

    state: GovernorState
    changes: Mapping[str, KnobValue] = field(default_factory=dict)
    reason: str = ""


def govern(
    state: GovernorState, sample: EngineSample, configuration: Mapping[str, KnobValue], limits: GovernorLimits
) -> Governed:
    """Decide once, about every second.

    Args:
        state: from the last call; `GovernorState()` at first, `GovernorState(model=...)` for another core.
        sample: what happened since then.
        configuration: the hot knobs that the engine was asked for.
        limits: what may be chosen and what must hold.
    """
    setting = limits.setting_of(configuration)
    alarmed = alarm(sample, state.waiting, state.load, setting, limits.slo)
    state = state.after(sample, setting, limits)
    turn = _Turn(state, sample, configuration, setting, limits)
    if alarmed is not None:
        return turn.give_back(alarmed)
    if not state.is_ready:
        return Governed(state)
    broken = state.tails.broken(limits.slo.attainment)
    if broken is not None:
        return turn.back_off(broken)
    return turn.seek()


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call of `govern` after the sample was taken in."""

    state: GovernorState
    sample: EngineSample
    configuration: Mapping[str, KnobValue]
    setting: Setting
    limits: GovernorLimits

    def give_back(self, why: str) -> Governed:
        """Everything at once, whatever was saved."""
        calm = replace(self, state=replace(self.state, calm_from_s=self.state.elapsed_s + _CALM_S))
        return calm.to(self.fastest, why)

    def back_off(self, latency: Latency) -> Governed:
        """Measured tails come too near: go on with less, or say that nothing is left to give back.

        With less of the allowance, the fastest setting may be one of smaller steps, even if nothing is paced.
        """
        why = f"{latency} came too near to its limit for more than {1 - self.limits.slo.attainment:.2g} of the requests"
        is_fastest = self.setting == self.fastest
        if is_fastest and self.state.elapsed_s > self.state.near_s + _OVER_S:
            return self.seek()  # what broke the tail, e.g. a burst, is over
        if latency is Latency.TTFT:  # newcomers do not wait for the pace: a little less of it would not help them
            return self.unmet(why) if is_fastest else self.give_back(why)
        cautious = replace(self, state=self.state.more_cautious())
        target = cautious.faster() or cautious.fastest
        return self.unmet(why) if target == self.setting else cautious.to(target, why)

    def seek(self) -> Governed:
        """Speed up as soon as the setting does not hold; otherwise look for a cheaper one from time to time."""
        if not self.search.holds(self.setting):
            return self.rescue()
        if not self.state.may_slow_down or self.state.elapsed_s < self.state.searched_s + _SEARCH_S:
            return self.met()
        return replace(self, state=replace(self.state, searched_s=self.state.elapsed_s)).cheaper()

    def rescue(self) -> Governed:
        """The setting does not hold the service level: take one that does, or the fastest."""
        why, target = unmet_words(self.search, self.setting), self.faster()
        if target is not None and (self.state.may_slow_down or not _slows(self.setting, target)):
            return self.to(target, f"{load_words(self.state.load)} {why}")
        if self.setting == self.fastest:
            return self.unmet(why)
        is_slowed = self.setting.gpu_clock_mhz != self.limits.fastest_mhz
        is_hopeless = target is None and not is_slowed  # a fastest one that holds would have been found
        found = "no setting holds the service level:" if is_hopeless else load_words(self.state.load)
        return self.to(self.fastest, f"{found} {why}")

    def cheaper(self) -> Governed:
        """Move towards the cheapest setting of this clock, if going all the way is worth it; at rest, see others."""
        best, now = self.search.best(_GROWTH), self.search.expected(self.setting)
        worth = _WORTH_AT_REST if self.at_rest else _WORTH
        if best is not None and _saves(self.search.expected(best), now, worth):
            target = self._within_reach(best)
            return self.to(target, cheaper_words(self.state.load, self.limits, now, self.search.expected(target)))
        return self.at_another_clock(now) if self.at_rest else self.met()

    def at_another_clock(self, now: SteadyState) -> Governed:
        """The clock under which the cheapest setting costs least, each setting found for its clock; or a new one.

        A slower clock has to save something: steps are longer there, and a surge finds it slow.
        """
        found = []
        for mhz in self.limits.clocks_mhz:
            search = self.state.search_at(mhz, self.limits)
            if mhz == self.setting.gpu_clock_mhz or search is None or not _is_proven(search.model):
                continue
            best = search.best(_GROWTH)
            worth = _WORTH if _is_slower(mhz, self.setting.gpu_clock_mhz) else -_WORTH_AT_REST
            if best is not None and _saves(search.expected(best), now, worth):
                found.append((search.expected(best), best))
        if not found:
            return self.at_an_untried_clock()
        then, target = min(found, key=lambda each: each[0].energy_per_output_token_j)
        return self.to(target, clock_words(self.state.load, target, then, now))

    def at_an_untried_clock(self) -> Governed:
        """Step down by one clock to see what steps cost there, if even steps that only compute would be in time."""
        mhz = self.limits.slower_mhz(self.setting.gpu_clock_mhz)
        if mhz is None or not _is_proven(self.state.model) or self.state.search_at(mhz, self.limits) is not None:
            return self.met()
        target = self.state.stretched_search(mhz, self.limits).best(_GROWTH)
        if target is None:
            return self.met()
        return self.to(target, trial_words(self.state.load, mhz))

    def faster(self) -> Setting | None:
        """The cheapest other setting that holds and is not paced more slowly; None if there is none.

        What holds when arrivals grow need not hold now: where no pace at all would keep TTFT, none is to blame for it.
        """
        interval_s = self.setting.pacing_interval_s
        found = (self.search.best(growth, interval_s) for growth in (_GROWTH, 1.0))
        others = (best for best in found if best is not None and best != self.setting)
        return next((best for best in others if self.search.holds(best)), None)

    @property
    def search(self) -> Search:
        """Over what is known now."""
        return self.state.search(self.limits)

    @property
    def fastest(self) -> Setting:
        """What is given back: no pace, and every card's own clock."""
        return replace(self.state.fastest_search(self.limits).fastest, gpu_clock_mhz=self.limits.fastest_mhz)

    @property
    def at_rest(self) -> bool:
        """Whether nothing was changed for a while."""
        return self.state.elapsed_s >= self.state.changed_s + _AT_REST_S

    def _within_reach(self, target: Setting) -> Setting:
        """The target, or a part of the way while predictions are unproven."""
        if _is_proven(self.state.model):
            return target
        next_s = [s for s in self.limits.intervals_s if s > self.setting.pacing_interval_s][:_UNPROVEN_VALUES]
        most_s = next_s[-1] if next_s else self.setting.pacing_interval_s
        return replace(target, pacing_interval_s=min(target.pacing_interval_s, most_s))

    def to(self, target: Setting, why: str) -> Governed:
        """Change to a setting; nothing where it is asked for already."""
        changes = self.limits.changes(self.configuration, target)
        if not changes:
            return Governed(self.state)
        state = replace(self.state.changed(_slows(self.setting, target), self.sample), unmet=None)
        return Governed(state, changes, f"Adjust {change_words(self.configuration, changes)}: {why}.")

    def unmet(self, why: str) -> Governed:
        """Told once, until it is over."""
        told = "" if self.state.unmet else f"No setting holds the service level: {why}; the fastest one stays."
        return Governed(replace(self.state, unmet=why), reason=told)

    def met(self) -> Governed:
        """All is well; told if it was not."""
        told = "The service level can be held again." if self.state.unmet else ""
        return Governed(replace(self.state, unmet=None), reason=told)


def _slows(before: Setting, after: Setting) -> bool:
    """Whether any bound becomes tighter."""
    return (
        after.pacing_interval_s > before.pacing_interval_s
        or after.max_num_seqs < before.max_num_seqs
        or after.max_num_batched_tokens < before.max_num_batched_tokens
        or _is_slower(after.gpu_clock_mhz, before.gpu_clock_mhz)
    )


def _is_slower(one_mhz: int, other_mhz: int) -> bool:
    """Of two clocks, where 0 is the card's own choice."""
    return (one_mhz or inf) < (other_mhz or inf)


def _is_proven(model: StepCostModel) -> bool:
    """Whether its joules came true so far."""
    return model.energy.error is not None and model.energy.error <= _PROVEN_ERROR


def _saves(then: SteadyState, now: SteadyState, share: float) -> bool:
    """Whether that costs less by so much."""
    return then.energy_per_output_token_j <= (1 - share) * now.energy_per_output_token_j
