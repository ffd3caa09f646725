"""A trace as a row of windows: what arrived in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_policies.step_cost import Workload

WINDOW_S = 30.0

#: Share of prompts that are longer than a window's tail length.
_TAIL = 0.01


@dataclass(frozen=True, slots=True)
class WindowTraffic:
    """What arrived in one stretch of time; means where each recorded request stands for several.

    Attributes:
        duration_s: its length.
        arrivals: requests.
        prompt_tokens, output_tokens: of all of them together.
        prompt_tail_tokens: a prompt longer than 99 of 100 others.
    """

    duration_s: float
    arrivals: float
    prompt_tokens: float
    output_tokens: float
    prompt_tail_tokens: float

    @property
    def workload(self) -> Workload:
        """As queueing theory takes it; only of a window with arrivals."""
        prompt, output = self.prompt_tokens / self.arrivals, max(1.0, self.output_tokens / self.arrivals)
        return Workload(self.arrivals / self.duration_s, prompt, prompt, output, self.prompt_tail_tokens)


def windows_of(requests: Iterable[PlannedRequest], times: float = 1.0) -> list[WindowTraffic]:
    """Cut a plan into windows of half a minute, empty ones included.

    Args:
        requests: in order of arrival.
        times: how many requests each recorded one stands for.
    """
    cut: list[list[PlannedRequest]] = []
    for request in requests:
        index = int(request.due_s // WINDOW_S)
        cut.extend([] for _ in range(index + 1 - len(cut)))
        cut[index].append(request)
    return [_window(each, times) for each in cut]


def merged(windows: Sequence[WindowTraffic], count: int) -> list[WindowTraffic]:
    """Each `count` windows as one."""
    return [_together(windows[start : start + count]) for start in range(0, len(windows), count)]


def _window(requests: Sequence[PlannedRequest], times: float) -> WindowTraffic:
    prompts = sorted(request.prompt_tokens for request in requests)
    tail = float(prompts[int((1 - _TAIL) * (len(prompts) - 1))]) if prompts else 0.0
    output = sum(request.output_tokens for request in requests)
    return WindowTraffic(WINDOW_S, times * len(requests), times * sum(prompts), times * output, tail)


def _together(windows: Sequence[WindowTraffic]) -> WindowTraffic:
    arrivals = sum(window.arrivals for window in windows)
    tails = sum(window.prompt_tail_tokens * window.arrivals for window in windows)
    return WindowTraffic(
        sum(window.duration_s for window in windows),
        arrivals,
        sum(window.prompt_tokens for window in windows),
        sum(window.output_tokens for window in windows),
        tails / arrivals if arrivals else 0.0,
    )
