"""The shape of a load that swings: low for a quarter, up for a quarter, high for an eighth, down for a quarter, low."""

from __future__ import annotations

#: Where its corners lie, as shares of the whole.
CORNERS = (0.25, 0.5, 0.625, 0.875)


def swung(share: float) -> float:
    """How high the load is, 0 to 1, at a share of the whole, 0 to 1."""
    climbs, high, falls, low = CORNERS
    up = (share - climbs) / (high - climbs) if share < high else (low - share) / (low - falls)
    return min(max(up, 0.0), 1.0)
