"""Shifts of arrival rate, prompt length and output length, by Page's test on the windows' logarithms.

Each quantity's logarithm is measured in units of its own spread from window to window, which is learned: bursty traffic
has to move further than steady traffic to be another one. One window alone never raises the alarm, whatever it holds;
two or three in a row do. Slow changes add up, too. River's `PageHinkley` does the test (Page 1954, Hinkley 1971).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import log, sqrt
from statistics import fmean
from typing import Any

from reconfigure_policies.change_detection.contexts import usual_context
from reconfigure_policies.domain.shift import WorkloadShift
from reconfigure_policies.domain.workload import WorkloadWindow

#: In spreads: a change by less than `_SLACK` is no shift; excesses above it add up to `_ALARM`. With independent normal
#: windows one false alarm comes in some ten million of them; traffic is burstier than that.
_SLACK, _ALARM = 1.0, 8.0

#: How far one window counts at most, in spreads: less than the alarm.
_CLIP = 6.0

#: Windows that the spread is learned from before there can be an alarm, and how many it remembers afterwards.
_LEARNING, _MEMORY = 8, 60

#: Least spread of a logarithm: smaller swings are the edges of windows.
_LEAST_SPREAD = 0.05

#: Windows that tell what the workload is now, and what it was.
_AFTER, _BEFORE = 2, 20

#: Fewer requests than this in a window say nothing of their lengths.
_LEAST_REQUESTS = 5


@dataclass(frozen=True, slots=True)
class _Quantity:
    """One logarithm that is watched.

    Attributes:
        mean, variance: of the logarithm over the last windows, older ones counting less.
        count: windows seen.
        anchor: the mean when the test began, from which it measures.
        test: River's detector, in units of the spread; None before the first alarm could be.
    """

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0
    anchor: float = 0.0
    test: Any = None

    @property
    def spread(self) -> float:
        return max(_LEAST_SPREAD, sqrt(self.variance))

    def after(self, value: float) -> _Quantity:
        """With another window; the spread is learned from what does not stick out."""
        weight = 1 / min(self.count + 1, _MEMORY)
        limit = _CLIP * self.spread if self.count >= _LEARNING else abs(value - self.mean)
        step = max(-limit, min(limit, value - self.mean))
        mean = self.mean + weight * step if self.count else value
        variance = (1 - weight) * (self.variance + weight * step * step) if self.count else 0.0
        learned = replace(self, mean=mean, variance=variance, count=self.count + 1)
        if learned.count <= _LEARNING:
            return learned
        anchor = self.mean if self.test is None else self.anchor
        deviation = max(-_CLIP, min(_CLIP, (value - anchor) / self.spread))
        return replace(learned, anchor=anchor, test=_tested(self.test, deviation))

    @property
    def alarmed(self) -> bool:
        return self.test is not None and bool(self.test.drift_detected)

    def starting_anew(self, mean: float) -> _Quantity:
        """After an alarm: another mean, the spread stays until another is learned."""
        return replace(self, mean=mean, count=min(self.count, _LEARNING), test=None)


@dataclass(frozen=True, slots=True)
class ShiftState:
    """What is known of the workload so far; the start knows nothing.

    Attributes:
        quantities: by field of `WorkloadContext`.
        reference: the first windows of the present workload: what it is when nothing shifts.
        recent: the last windows.
    """

    quantities: dict[str, _Quantity] = field(default_factory=dict)
    reference: tuple[WorkloadWindow, ...] = ()
    recent: tuple[WorkloadWindow, ...] = ()


def detect(state: ShiftState, window: WorkloadWindow) -> tuple[ShiftState, WorkloadShift | None]:
    """Take in a window; returns the shift that it gives away, if any.

    Windows without requests are passed over: they say nothing of their shape, and a pause is no other workload.

    Args:
        state: after the windows before.
        window: the next one of the same host.
    """
    values = dict(_logarithms(window))
    if not values:
        return state, None
    quantities = dict(state.quantities)
    for name, value in values.items():
        quantities[name] = quantities.get(name, _Quantity()).after(value)
    recent = (*state.recent, window)[-_AFTER:]
    reference = state.reference if len(state.reference) >= _BEFORE else (*state.reference, window)
    following = ShiftState(quantities, reference, recent)
    if not any(quantity.alarmed for quantity in quantities.values()):
        return following, None
    return _alarmed(state, following, window)


def _alarmed(
    state: ShiftState, following: ShiftState, window: WorkloadWindow
) -> tuple[ShiftState, WorkloadShift | None]:
    """Tell the shift, and begin anew; one that comes to nothing much is none, and the reference stays."""
    began = following.recent
    before = usual_context([each for each in state.reference if each not in began] or state.reference)
    after = usual_context(began)
    latest = [dict(_logarithms(each)) for each in began]
    anew = {
        name: quantity.starting_anew(fmean(values[name] for values in latest))
        for name, quantity in following.quantities.items()
    }
    if before is None or after is None:
        return replace(following, quantities=anew), None
    shift = WorkloadShift(before, after, window.started_s + window.duration_s)
    if not shift.factors:
        return replace(following, quantities=anew), None
    return ShiftState(anew, began, began), shift


def _logarithms(window: WorkloadWindow) -> Iterator[tuple[str, float]]:
    """What is watched of a window, by field of `WorkloadContext`: all of it or, of too quiet a window, nothing."""
    enough = min(window.arrivals, window.finished) >= _LEAST_REQUESTS and window.duration_s > 0
    if enough and window.prompt_tokens > 0 and window.output_tokens > 0:
        yield "arrival_rate_rps", log(window.arrival_rate_rps)
        yield "prompt_tokens", log(window.prompt_tokens / window.arrivals)
        yield "output_tokens", log(window.output_tokens / window.finished)


def _tested(test: Any, deviation: float) -> Any:
    """The test after another window, in spreads from the anchor; the state before keeps its own."""
    from river.drift import PageHinkley

    following = deepcopy(test)
    if following is None:
        following = PageHinkley(min_instances=1, delta=_SLACK, threshold=_ALARM, alpha=1.0)
    following.update(deviation)
    return following
