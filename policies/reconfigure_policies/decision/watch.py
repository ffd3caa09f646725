"""What the slow loop has seen of the workload, and whether that is an occasion to decide again. Explicit state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reconfigure_policies.change_detection import (
    ArrivalCounts,
    Bursts,
    ShiftState,
    Trend,
    busiest_ahead_rps,
    busiest_context,
    detect,
    trend_of,
    usual_context,
)
from reconfigure_policies.decision.misses import is_disaster, misses_words
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.shift import WorkloadShift
from reconfigure_policies.domain.workload import WorkloadWindow

#: Windows until a first decision, and until one that could not wait is made again on what the workload has settled to.
_FIRST, _SETTLED = 4, 10

#: Windows in a row in which too many requests miss the SLO: one may be a burst that ends before anything could be done.
_MISSING = 2

#: Windows that tell what requests are like where the load is no longer what windows have seen.
_LATEST = 2

#: Share of what windows have seen on average below which the load is another one.
_FALLEN = 0.6

#: A climb that was seen so shortly ago may have paused by chance.
_JUST_BEFORE_S = 30.0

#: Windows that tell what the workload is: ten minutes of half a minute each.
_REMEMBERED = 20

#: Windows that a canary is judged by, at most.
_CANARY = 200


@dataclass(frozen=True, slots=True)
class Watch:
    """The slow loop's eyes.

    Attributes:
        shifts: what the detector knows.
        windows: of the present workload, oldest first.
        since_shift: how many windows ago it shifted, or was last found to be more than can be served.
        since_climb: how many windows ago its load was last found to climb; None once that was decided again.
        occasion: why to decide again, as a clause; None to keep still.
        is_urgent: whether the occasion is one of these, which do not wait for the end of a canary.
        shift: the latest one.
        canary_id: the decision whose canary `canary_windows` are of.
        canary_windows: complete windows since it was applied.
        arrivals: counts of the last minute, whatever served.
        bursts: how bursty they are.
        climbed_at_s: when they were last seen to climb, on the engine host's clock.
        climb: where the load is and where it goes, while that is beyond what was decided for.
        fall: where it is, if it has left what windows have seen downwards, until that is decided on.
        decided_for_rps: the busiest that the last decision was made for; None before one.
    """

    shifts: ShiftState = field(default_factory=ShiftState)
    windows: tuple[WorkloadWindow, ...] = ()
    since_shift: int = 0
    since_climb: int | None = None
    occasion: str | None = None
    is_urgent: bool = False
    shift: WorkloadShift | None = None
    canary_id: int | None = None
    canary_windows: tuple[WorkloadWindow, ...] = ()
    arrivals: ArrivalCounts = field(default_factory=ArrivalCounts)
    bursts: Bursts = field(default_factory=Bursts)
    climbed_at_s: float | None = None
    climb: Trend | None = None
    fall: Trend | None = None
    decided_for_rps: float | None = None

    @property
    def usual(self) -> WorkloadContext | None:
        """The workload as it is now; None without traffic."""
        usual, moved = usual_context(self.windows), self.climb or self.fall
        return usual if usual is None or moved is None else replace(usual, arrival_rate_rps=moved.now_rps)

    @property
    def busiest(self) -> WorkloadContext | None:
        """The workload as it is one window in a hundred, or will be soon; None without traffic."""
        swings, moved = busiest_context(self.windows), self.climb or self.fall
        if swings is None or moved is None:
            return swings
        ahead_rps = busiest_ahead_rps(self.windows, moved)
        return replace(swings, arrival_rate_rps=max(ahead_rps, swings.arrival_rate_rps) if self.climb else ahead_rps)


def after_count(watch: Watch, at_s: float, arrived: int, lead_s: float, *, detecting: bool = True) -> Watch:
    """Take in the counter of arrivals.

    A load that will soon be beyond what the last decision was made for is an occasion that does not wait: where the
    present configuration would not hold it, another has to serve by then. One that has fallen far below what windows
    have seen is an occasion as well: what was seen before counts no more.

    Args:
        watch: what was seen before.
        at_s: on the engine host's clock.
        arrived: requests since its start.
        lead_s: what a change takes that is to be there in time.
        detecting: as for `after_window`.
    """
    arrivals = watch.arrivals.after(at_s, arrived)
    if arrivals is watch.arrivals:
        return watch
    climbed = watch.climbed_at_s is not None and 0 <= at_s - watch.climbed_at_s <= _JUST_BEFORE_S
    trend = trend_of(arrivals, lead_s, _burstiness(watch), climbed=climbed)
    climbed_at_s = at_s if trend is not None and trend.climbs else watch.climbed_at_s
    following = replace(watch, arrivals=arrivals, climb=None, climbed_at_s=climbed_at_s)
    if not detecting or trend is None or watch.decided_for_rps is None:
        return following
    if trend.then_rps - trend.error_rps <= watch.decided_for_rps:
        return _fallen(following, trend) if _has_fallen(watch, trend) else following
    occasion = f"the load climbs beyond {watch.decided_for_rps:.3g} requests/s, {trend}"
    return replace(following, climb=trend, fall=None, since_climb=0, occasion=occasion, is_urgent=True)


def after_window(watch: Watch, window: WorkloadWindow, own: OwnChanges, *, detecting: bool = True) -> Watch:
    """Take in a complete window.

    Args:
        watch: what was seen before.
        window: of one configuration.
        own: whose canary, if there is one, the window is of.
        detecting: whether to look for shifts; without anything learned there is nothing to do about one.
    """
    watch = _with_canary_window(replace(watch, bursts=watch.bursts.after(window)), window, own)
    shifts, shift = detect(watch.shifts, window) if detecting else (watch.shifts, None)
    if shift is not None:
        return _shifted(replace(watch, shifts=shifts, shift=shift), shift)
    following = replace(
        watch,
        shifts=shifts,
        windows=(*watch.windows, window)[-_REMEMBERED:],
        since_shift=watch.since_shift + 1,
        since_climb=_one_more(watch.since_climb),
    )
    if detecting and own.canary is None and _is_missing(following):
        return _missing(following)
    return replace(following, occasion=following.occasion or _occasion(following))


def with_occasion(watch: Watch, occasion: str) -> Watch:
    """Something besides the workload asks for a decision."""
    return replace(watch, occasion=watch.occasion or occasion)


def asked_for(watch: Watch, busiest: WorkloadContext) -> Watch:
    """A decision is being made that has to hold at this busiest; beyond it, a load that climbs is an occasion."""
    return replace(watch, decided_for_rps=busiest.arrival_rate_rps)


def answered(watch: Watch) -> Watch:
    """The occasion was met by a decision."""
    return replace(watch, occasion=None, is_urgent=False, climb=None, fall=None)


def _has_fallen(watch: Watch, trend: Trend) -> bool:
    """Whether the load is far below what windows have seen on average; not again before new ones have."""
    usual = usual_context(watch.windows)
    if usual is None or len(watch.windows) <= _LATEST:
        return False
    return trend.most_rps + 2 * trend.error_rps < _FALLEN * usual.arrival_rate_rps


def _fallen(watch: Watch, trend: Trend) -> Watch:
    """The latest windows still tell what requests are like."""
    occasion = watch.occasion or f"the load fell to {trend.now_rps:.3g} requests/s"
    return replace(watch, windows=watch.windows[-_LATEST:], since_shift=0, fall=trend, occasion=occasion)


def _burstiness(watch: Watch) -> float:
    """Of a window at the usual rate."""
    return watch.bursts.over(sum(window.arrivals for window in watch.windows) / max(1, len(watch.windows)))


def _one_more(since_climb: int | None) -> int | None:
    """Until the load has settled."""
    return None if since_climb is None or since_climb == _SETTLED else since_climb + 1


def _shifted(watch: Watch, shift: WorkloadShift) -> Watch:
    """What was seen before is of another workload, also for a canary."""
    began = watch.shifts.recent
    return replace(
        watch,
        windows=began,
        since_shift=0,
        since_climb=None,
        climb=None,
        fall=None,
        occasion=f"the workload shifted, {shift}",
        is_urgent=True,
        canary_windows=watch.canary_windows[-len(began) :],
    )


def _is_missing(watch: Watch) -> bool:
    """Whether the last windows missed the SLO, and that was not an occasion just before."""
    lately = watch.windows[-_MISSING:]
    return watch.since_shift >= _SETTLED and all(is_disaster([each]) for each in lately)


def _missing(watch: Watch) -> Watch:
    """What cannot be served is what counts now, whether or not the workload has left its usual swings."""
    lately = watch.windows[-_MISSING:]
    return replace(watch, windows=lately, since_shift=0, fall=None, occasion=misses_words(lately), is_urgent=True)


def _with_canary_window(watch: Watch, window: WorkloadWindow, own: OwnChanges) -> Watch:
    """Windows of the present canary only; without one, none."""
    canary_id = None if own.canary is None else own.canary.decision_id
    earlier = watch.canary_windows if canary_id == watch.canary_id else ()
    windows = () if canary_id is None else (*earlier, window)[-_CANARY:]
    return replace(watch, canary_id=canary_id, canary_windows=windows)


def _occasion(watch: Watch) -> str | None:
    if len(watch.windows) == watch.since_shift == _FIRST:
        return "enough of the workload was seen"
    if watch.since_climb == _SETTLED:
        return "the load has settled"
    began_anew = len(watch.windows) > watch.since_shift  # with the windows that were the occasion
    return "the workload has settled" if began_anew and watch.since_shift == _SETTLED else None
