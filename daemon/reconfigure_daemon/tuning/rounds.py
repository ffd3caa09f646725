"""When a full engine is in its steady state, and which windows of it are whole.

The requests of a flood begin together. It takes a while until every place is taken: 128 places with prompts of 512
tokens fill up in eight seconds on a GPU that computes 8,000 of them a second. And requests that begin together end
together, whose successors' prompts then come together: throughput swings, with a period in which as many requests end
as run at once, a *round*. A window that begins before the first requests have all ended measures an engine that fills
up; one that holds half a round measures which half it met. docs/decisions/0015 has what that did to trials.
"""

from __future__ import annotations

from reconfigure_policies.domain.workload import IterationTotals


def is_steady(at_start: IterationTotals, now: IterationTotals, begun: int) -> bool:
    """Whether as many requests have ended as a flood began with; from then on all are whole ones.

    Args:
        at_start: totals just before the flood.
        now: totals of the same engine.
        begun: requests that it began with.
    """
    return now.finished - at_start.finished >= begun


class Rounds:
    """Tells when a window ends with a whole round.

    Args:
        start: the window's zero; as many requests as run then make a round.
    """

    def __init__(self, start: IterationTotals) -> None:
        self._start = start
        self._before: int | None = None

    def just_ended(self, now: IterationTotals) -> bool:
        """Whether a round has ended since this was last asked; the first answer is about the moment itself, and no."""
        ended = (now.finished - self._start.finished) // max(1, self._start.running)
        before, self._before = self._before, ended
        return before is not None and ended > before
