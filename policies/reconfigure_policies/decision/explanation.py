"""Why this configuration and not its neighbours: what one knob more or less would do, and which knobs matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue
from reconfigure_policies.domain.forecast import Estimate, Forecast

#: Quantities that are explained, and whether more of them is better.
EXPLAINED = {"energy_per_output_token_j": False, "throughput_tps": True, "ttft_p99_s": False, "tpot_p99_s": False}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A candidate that differs in one knob.

    Attributes:
        knob, value: the difference.
        forecast: under the same workload.
        ratios: by quantity, its median over that of what is explained.
        clear: quantities in which the two intervals do not overlap.
    """

    knob: str
    value: KnobValue
    forecast: Forecast
    ratios: Mapping[str, float]
    clear: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Influence:
    """How much one knob matters, everything else left as it is.

    Attributes:
        knob: its name.
        spread: by quantity, the largest over the smallest median among the knob's values; 1 is no influence.
    """

    knob: str
    spread: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rival:
    """The candidate that would be better in one quantity.

    Attributes:
        quantity: in which.
        forecast: of the rival.
        share: by how much of the present value it is better, 0 to 1.
        is_clear: whether the intervals do not overlap, so that measuring again would hardly change it.
    """

    quantity: str
    forecast: Forecast
    share: float
    is_clear: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A configuration among the candidates.

    Attributes:
        forecast: of the configuration itself.
        neighbours: each other value of each knob, in the space's order.
        influences: the most influential knob first, by its influence on energy.
        rivals: for each quantity that anything beats it in.
    """

    forecast: Forecast
    neighbours: tuple[Neighbour, ...]
    influences: tuple[Influence, ...]
    rivals: tuple[Rival, ...]


def explained(
    configuration: Configuration, forecasts: Sequence[Forecast], space: ConfigurationSpace
) -> Explanation | None:
    """Compare a configuration with the candidates around it; None if it is none of them.

    Args:
        configuration: every knob of the space.
        forecasts: of all candidates, under one workload.
        space: its knobs.
    """
    by_configuration = {forecast.configuration: forecast for forecast in forecasts}
    own = by_configuration.get(space.effective(configuration))
    if own is None:
        return None
    neighbours = [
        _neighbour(own, knob.name, value, other)
        for knob in space.knobs
        for value in knob.values
        if (other := by_configuration.get(space.effective(configuration.with_changes({knob.name: value}))))
        not in (None, own)
    ]
    influences = [_influence(own, knob.name, neighbours) for knob in space.knobs]
    influences.sort(key=lambda each: max(each.spread.values(), default=1.0), reverse=True)
    rivals = [rival for name in EXPLAINED if (rival := _rival(own, name, forecasts)) is not None]
    return Explanation(own, tuple(neighbours), tuple(influences), tuple(rivals))


def _neighbour(own: Forecast, knob: str, value: KnobValue, other: Forecast | None) -> Neighbour:
    assert other is not None, "only candidates are compared"
    pairs = {name: (_estimate(own, name), _estimate(other, name)) for name in EXPLAINED}
    known = {name: (one, two) for name, (one, two) in pairs.items() if one is not None and two is not None}
    ratios = {name: two.median / one.median for name, (one, two) in known.items() if one.median > 0}
    clear = tuple(name for name, (one, two) in known.items() if _are_apart(one, two))
    return Neighbour(knob, value, other, ratios, clear)


def _influence(own: Forecast, knob: str, neighbours: Sequence[Neighbour]) -> Influence:
    spread = {}
    for name in EXPLAINED:
        forecasts = [own, *(each.forecast for each in neighbours if each.knob == knob)]
        medians = [estimate.median for each in forecasts if (estimate := _estimate(each, name)) is not None]
        if len(medians) > 1 and min(medians) > 0:
            spread[name] = max(medians) / min(medians)
    return Influence(knob, spread)


def _rival(own: Forecast, name: str, forecasts: Sequence[Forecast]) -> Rival | None:
    present = _estimate(own, name)
    if present is None or present.median <= 0:
        return None
    sign = 1.0 if EXPLAINED[name] else -1.0
    known = [(sign * estimate.median, each) for each in forecasts if (estimate := _estimate(each, name)) is not None]
    value, best = max(known, key=lambda pair: pair[0])
    share = (value - sign * present.median) / present.median
    estimate = _estimate(best, name)
    if share <= 0 or best is own or estimate is None:
        return None
    return Rival(name, best, share, _are_apart(present, estimate))


def _are_apart(one: Estimate, other: Estimate) -> bool:
    return one.high < other.low or other.high < one.low


def _estimate(forecast: Forecast, name: str) -> Estimate | None:
    estimate: Estimate | None = getattr(forecast, name)
    return estimate
