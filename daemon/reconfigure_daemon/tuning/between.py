"""The space as if its numbers were continuous, and the way back to values that an engine takes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, KnobValue


def between_the_values(space: ConfigurationSpace, count: int, seed: int) -> list[Configuration]:
    """Random points of the box that the numeric knobs span; switches and words keep their values.

    Args:
        space: its knobs.
        count: how many.
        seed: of the draws.
    """
    draws = random.Random(seed)  # noqa: S311 - points that can be drawn again, not a secret
    return [Configuration({knob.name: _drawn(knob, draws) for knob in space.knobs}) for _ in range(count)]


def nearest_candidate(
    point: Configuration, candidates: Sequence[Configuration], space: ConfigurationSpace
) -> Configuration | None:
    """The candidate that differs least from a point, by steps between a knob's values; None without candidates."""
    return min(candidates, key=lambda each: _distance(point, each, space), default=None)


def _drawn(knob: Knob, draws: random.Random) -> KnobValue:
    numbers = _numbers(knob)
    if len(numbers) < 2:
        return draws.choice(knob.values)
    position = draws.random() * (len(numbers) - 1)
    below = min(int(position), len(numbers) - 2)
    low, high = numbers[below], numbers[below + 1]
    value = low + (high - low) * (position - below)
    return round(value) if all(isinstance(each, int) for each in knob.values) else value


def _distance(point: Configuration, candidate: Configuration, space: ConfigurationSpace) -> float:
    return math.fsum(_steps(knob, point[knob.name], candidate[knob.name]) ** 2 for knob in space.knobs)


def _steps(knob: Knob, one: KnobValue, other: KnobValue) -> float:
    """How many of the knob's values two values are apart; 1 between words that differ."""
    if len(_numbers(knob)) < 2:
        return float(one != other)
    return abs(_place(knob, one) - _place(knob, other))


def _place(knob: Knob, value: KnobValue) -> float:
    """A number's place among the knob's values, with its share of the way to the next."""
    numbers, number = _numbers(knob), float(value)
    for place in range(len(numbers) - 1):
        if number <= numbers[place + 1]:
            return place + (number - numbers[place]) / (numbers[place + 1] - numbers[place])
    return float(len(numbers) - 1)


def _numbers(knob: Knob) -> list[float]:
    """The knob's values in order if they are numbers, else nothing."""
    if any(isinstance(value, str | bool) for value in knob.values):
        return []
    return sorted(float(value) for value in knob.values)
