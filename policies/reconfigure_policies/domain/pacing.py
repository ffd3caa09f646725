"""When steps that decode are due under a pacing interval; the hot scheduler and the emulated engine go by it alike."""

from __future__ import annotations

from math import inf


def beside_a_boot_s(interval_s: float) -> float:
    """The interval, seconds, of a core while another one boots on its device: half, for steps take longer then.

    Source: docs/decisions/0021.
    """
    return interval_s / 2


class PacingClock:
    """Lets steps that decode start one interval apart on average.

    A newcomer's prompt that is being computed when the batch is due keeps it waiting. The next intervals are shorter by
    as much, so that time per token is the interval however many prompts come; without that, every prompt in a burst
    would add to it. What is made up is one interval at most: after a longer wait the batch goes on at its pace instead
    of running flat out for a while. Times are seconds of one clock; intervals may change from call to call.
    """

    def __init__(self) -> None:
        self._slot_s = -inf  # when the last step that decodes started, or should have
        self._held_up = False

    @property
    def held_up(self) -> bool:
        """Whether prompts were computed since the batch's last step: it may be behind."""
        return self._held_up

    def due_s(self, interval_s: float) -> float:
        """When the next step that decodes may start."""
        return self._slot_s + interval_s

    def newcomers_started(self) -> None:
        """A step of prompts alone has started while others decode."""
        self._held_up = True

    def batch_started(self, now_s: float, interval_s: float) -> None:
        """A step that decodes has started."""
        due_s = self.due_s(interval_s)
        self._slot_s = min(now_s, max(due_s, now_s - interval_s)) if self._held_up else now_s
        self._held_up = False
