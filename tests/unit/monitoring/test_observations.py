"""Only settled, full and complete windows are observations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconfigure_daemon.monitoring.observations import ObservationRules, is_observation, why_not_observed
from reconfigure_policies.domain.workload import WorkloadWindow

RULES = ObservationRules(window_s=30, settle_s=10, min_requests=20)
WINDOW = WorkloadWindow(1000, 30, 60, 58, 55, 900, 0, 1200, 0, 2.0, 0.0)


@pytest.mark.parametrize("changes_s", [[], [990], [0, 500, 990], [1030], [2000]])
def test_a_settled_window_is_an_observation(changes_s: list[float]) -> None:
    """Changes at least the settling time before the window, or after it, do not spoil it."""
    assert is_observation(WINDOW, changes_s, RULES)


@pytest.mark.parametrize(
    ("window", "changes_s", "reason"),
    [
        (WINDOW, [995], "it started 5.0 s after a change, before the 10 s to settle"),
        (WINDOW, [500, 990.5, 2000], "it started 9.5 s after a change, before the 10 s to settle"),
        (WINDOW, [1000], "it started 0.0 s after a change, before the 10 s to settle"),
        (WINDOW, [500, 1015], "the configuration changed within it"),
        (replace(WINDOW, duration_s=29.5), [], "it lasted 29.5 s of 30 s"),
        (replace(WINDOW, finished=19), [], "19 requests finished in it, of 20 needed"),
        (
            replace(WINDOW, finished=30, inherited=12),
            [],
            "18 requests finished in it besides 12 inherited ones, of 20 needed",
        ),
        (replace(WINDOW, dropped=3), [], "3 of its requests were overwritten before they were read"),
    ],
)
def test_any_other_window_is_refused_with_its_numbers(
    window: WorkloadWindow, changes_s: list[float], reason: str
) -> None:
    """Each refusal says what was found and what was asked."""
    assert why_not_observed(window, changes_s, RULES) == reason
