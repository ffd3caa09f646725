"""Which stored trials can be learned from, in the space as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconfigure_policies.decision import completed
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, KnobValue
from reconfigure_policies.surrogate import Trial


def training_set(trials: Iterable[Trial], space: ConfigurationSpace) -> tuple[Trial, ...]:
    """Trials in the knobs of the space, each effect under one name; those that say nothing in it are left out.

    A knob that a trial does not know had its default then. One that has left the space makes no difference between
    the candidates of today, so a trial with another value than the rest is kept too.

    Args:
        trials: in any order, which stays.
        space: of today.
    """
    usable = (trial for trial in trials if trial.measured or not trial.feasible)
    return tuple(
        replace(trial, configuration=_in_space(trial.configuration, space))
        for trial in usable
        if all(_is_known(knob, trial.configuration.get(knob.name, knob.default)) for knob in space.knobs)
    )


def _in_space(configuration: Configuration, space: ConfigurationSpace) -> Configuration:
    known = {knob.name: configuration[knob.name] for knob in space.knobs if knob.name in configuration}
    return space.effective(completed(space, known))


def _is_known(knob: Knob, value: KnobValue) -> bool:
    """Numbers say something between and beyond a knob's values; words and switches only where they are among them."""
    if knob.allows(value):
        return True
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in (value, *knob.values))
