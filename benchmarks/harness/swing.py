"""The shape of a load that swings: low for a quarter, up for a quarter, high for an eighth, down for a quarter, low."""

from __future__ import annotations

#: Where its corners lie, as shares of the whole.
CORNERS = (0.25, 0.5, 0.625, 0.875)


def swinging_rps(low_rps: float, times: float, share: float) -> float:
    """Requests each second.

    Args:
        low_rps: at the low end.
        times: how much higher the high end is.
        share: of the whole that is over, 0 to 1.
    """
    climbs, high, falls, low = CORNERS
    up = (share - climbs) / (high - climbs) if share < high else (low - share) / (low - falls)
    return low_rps * (1 + (times - 1) * min(max(up, 0.0), 1.0))
