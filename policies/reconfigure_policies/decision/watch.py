"""What the slow loop has seen of the workload, and whether that is an occasion to decide again. Explicit state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reconfigure_policies.change_detection import ShiftState, busiest_context, detect, usual_context
from reconfigure_policies.decision.misses import is_disaster, misses_words
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.shift import WorkloadShift
from reconfigure_policies.domain.workload import WorkloadWindow

#: Windows until a first decision, and until one that could not wait is made again on what the workload has settled to.
_FIRST, _SETTLED = 4, 10

#: Windows in a row in which too many requests miss the SLO: one may be a burst that ends before anything could be done.
_MISSING = 2

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
        occasion: why to decide again, as a clause; None to keep still.
        is_urgent: whether the occasion is one of these, which do not wait for the end of a canary.
        shift: the latest one.
        canary_id: the decision whose canary `canary_windows` are of.
        canary_windows: complete windows since it was applied.
    """

    shifts: ShiftState = field(default_factory=ShiftState)
    windows: tuple[WorkloadWindow, ...] = ()
    since_shift: int = 0
    occasion: str | None = None
    is_urgent: bool = False
    shift: WorkloadShift | None = None
    canary_id: int | None = None
    canary_windows: tuple[WorkloadWindow, ...] = ()

    @property
    def usual(self) -> WorkloadContext | None:
        """The workload as it is now; None without traffic."""
        return usual_context(self.windows)

    @property
    def busiest(self) -> WorkloadContext | None:
        """The workload as it is one window in a hundred; None without traffic."""
        return busiest_context(self.windows)


def after_window(watch: Watch, window: WorkloadWindow, own: OwnChanges, *, detecting: bool = True) -> Watch:
    """Take in a complete window.

    Args:
        watch: what was seen before.
        window: of one configuration.
        own: whose canary, if there is one, the window is of.
        detecting: whether to look for shifts; without anything learned there is nothing to do about one.
    """
    watch = _with_canary_window(watch, window, own)
    shifts, shift = detect(watch.shifts, window) if detecting else (watch.shifts, None)
    if shift is not None:
        return _shifted(replace(watch, shifts=shifts, shift=shift), shift)
    following = replace(
        watch,
        shifts=shifts,
        windows=(*watch.windows, window)[-_REMEMBERED:],
        since_shift=watch.since_shift + 1,
    )
    if detecting and own.canary is None and _is_missing(following):
        return _missing(following)
    return replace(following, occasion=following.occasion or _occasion(following))


def with_occasion(watch: Watch, occasion: str) -> Watch:
    """Something besides the workload asks for a decision."""
    return replace(watch, occasion=watch.occasion or occasion)


def answered(watch: Watch) -> Watch:
    """The occasion was met by a decision."""
    return replace(watch, occasion=None, is_urgent=False)


def _shifted(watch: Watch, shift: WorkloadShift) -> Watch:
    """What was seen before is of another workload, also for a canary."""
    began = watch.shifts.recent
    return replace(
        watch,
        windows=began,
        since_shift=0,
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
    return replace(watch, windows=lately, since_shift=0, occasion=misses_words(lately), is_urgent=True)


def _with_canary_window(watch: Watch, window: WorkloadWindow, own: OwnChanges) -> Watch:
    """Windows of the present canary only; without one, none."""
    canary_id = None if own.canary is None else own.canary.decision_id
    earlier = watch.canary_windows if canary_id == watch.canary_id else ()
    windows = () if canary_id is None else (*earlier, window)[-_CANARY:]
    return replace(watch, canary_id=canary_id, canary_windows=windows)


def _occasion(watch: Watch) -> str | None:
    if len(watch.windows) == watch.since_shift == _FIRST:
        return "enough of the workload was seen"
    began_anew = len(watch.windows) > watch.since_shift  # with the windows that were the occasion
    return "the workload has settled" if began_anew and watch.since_shift == _SETTLED else None
