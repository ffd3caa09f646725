"""From spans to shares: every instant of a trace is put down to one kind of work, or to nothing being done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconfigure_daemon.profiling.kinds import Kind, kind_of
from reconfigure_daemon.profiling.trace import Span, Trace

#: What an instant is put down to when several kernels run at once: communication and copies that hide behind
#: computing cost nothing, so they count only where nothing else runs.
_FIRST = (Kind.GEMM, Kind.ATTENTION, Kind.OTHER, Kind.COPY, Kind.COLLECTIVE)

_MOST_NAMES = 12
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Named:
    """All kernels or operators of one name; `seconds` may overlap with others'."""

    name: str
    kind: Kind
    seconds: float
    calls: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One device's or processor's time.

    Attributes:
        device: `GPU 0`, or `CPU`.
        span_s: how long the profiler was on.
        seconds: by kind, `idle` included; together they are `span_s`.
        top: what took longest, by name.
    """

    device: str
    span_s: float
    seconds: dict[Kind, float]
    top: tuple[Named, ...]

    def share(self, kind: Kind) -> float:
        """Part of the time, 0 to 1."""
        return self.seconds[kind] / self.span_s if self.span_s > 0 else 0.0


def break_down(trace: Trace) -> list[Breakdown]:
    """One breakdown for each GPU of a trace; without any, one for the processor."""
    by_device: dict[str, list[Timed]] = defaultdict(list)
    for span in trace.spans:
        if span.on_device:
            kind = Kind.COPY if span.copies else kind_of(span.name)
            by_device[span.lane[0]].append(Timed(span.name, kind, span.start_s, span.end_s, span.end_s - span.start_s))
    if by_device:
        return [_of_device(device, timed, trace) for device, timed in sorted(by_device.items())]
    return [_of_processor(_self_times(_busiest_lane(trace.spans)), trace)]


@dataclass(slots=True)
class Timed:
    """A span with its kind, and the seconds that are its own."""

    name: str
    kind: Kind
    start_s: float
    end_s: float
    own_s: float


def _of_device(device: str, timed: Sequence[Timed], trace: Trace) -> Breakdown:
    """Kernels of several streams may run at once."""
    seconds = dict.fromkeys(Kind, 0.0)
    for kind, spent_s in _instants(timed, trace.start_s, trace.end_s):
        seconds[kind] += spent_s
    return Breakdown(f"GPU {device}", trace.end_s - trace.start_s, seconds, _top(timed))


def _of_processor(timed: Sequence[Timed], trace: Trace) -> Breakdown:
    """Operators of one thread lie one after or inside the other, so that their own times add up."""
    seconds = dict.fromkeys(Kind, 0.0)
    for operator in timed:
        seconds[operator.kind] += operator.own_s
    span_s = trace.end_s - trace.start_s
    seconds[Kind.IDLE] = max(0.0, span_s - sum(seconds.values()))
    return Breakdown("CPU", span_s, seconds, _top(timed))


def _instants(timed: Iterable[Timed], start_s: float, end_s: float) -> Iterator[tuple[Kind, float]]:
    """Sweep over the trace: the kind of each stretch between two events, and its length."""
    edges = [edge for one in timed for edge in ((one.start_s, 1, one.kind), (one.end_s, -1, one.kind))]
    edges.sort(key=lambda edge: edge[0])
    running: Counter[Kind] = Counter()
    at_s = start_s
    for edge_s, change, kind in edges:
        if edge_s > at_s:
            yield _running_kind(running), edge_s - at_s
            at_s = edge_s
        running[kind] += change
    if end_s > at_s:
        yield Kind.IDLE, end_s - at_s


def _running_kind(running: Counter[Kind]) -> Kind:
    return next((kind for kind in _FIRST if running[kind] > 0), Kind.IDLE)


def _busiest_lane(spans: Iterable[Span]) -> list[Span]:
    """The thread that runs the model: operators of others are small and overlap with it."""
    lanes: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in spans:
        lanes[span.lane].append(span)
    return max(lanes.values(), key=lambda lane: sum(span.end_s - span.start_s for span in lane))


def _self_times(lane: Iterable[Span]) -> list[Timed]:
    """Operators of one thread with the time that no other one inside them takes.

    A linear layer holds a matrix multiplication, which holds an allocation: the outermost operator of a certain kind
    stands for all that is inside it.
    """
    timed: list[Timed] = []
    around: list[Timed] = []
    for span in lane:  # by start, the longer first, so that what holds others comes before them
        while around and around[-1].end_s <= span.start_s:
            around.pop()
        if around and around[-1].kind is not Kind.OTHER:
            continue
        length_s = span.end_s - span.start_s
        if around:
            around[-1].own_s = max(0.0, around[-1].own_s - length_s)
        around.append(Timed(span.name, kind_of(span.name), span.start_s, span.end_s, length_s))
        timed.append(around[-1])
    return timed


def _top(timed: Iterable[Timed]) -> tuple[Named, ...]:
    """The names that took longest in sum, longest first."""
    seconds: Counter[tuple[str, Kind]] = Counter()
    calls: Counter[tuple[str, Kind]] = Counter()
    for one in timed:
        key = (one.name[:_LONGEST_NAME], one.kind)
        seconds[key] += one.own_s  # type: ignore[assignment]  # a counter of seconds
        calls[key] += 1
    longest = sorted(seconds, key=lambda key: (-seconds[key], key))[:_MOST_NAMES]
    return tuple(Named(name, kind, float(seconds[name, kind]), calls[name, kind]) for name, kind in longest)
