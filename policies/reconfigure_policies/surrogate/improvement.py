"""Exact hypervolume that single points would add to a front of one or two objectives, for many points at once."""

from __future__ import annotations

import numpy as np

from reconfigure_policies.surrogate.gaussian_process import Array


def front_of(points: Array) -> Array:
    """Non-dominated points with all coordinates above 0, `k x 2`, the first coordinate descending; all maximised.

    Args:
        points: `n x 2` gains over the reference point.
    """
    inside: Array = points[(points > 0).all(axis=1)]
    ordered: Array = inside[np.lexsort((-inside[:, 1], -inside[:, 0]))]
    if not len(ordered):
        return ordered
    highest_before = np.concatenate([[0.0], np.maximum.accumulate(ordered[:, 1])[:-1]])
    front: Array = ordered[ordered[:, 1] > highest_before]
    return front


def area_of(front: Array) -> float:
    """Area between a front from `front_of` and the reference point at 0."""
    rights, heights, lefts = front[:, 0], front[:, 1], np.append(front[1:, 0], 0.0)
    return float(((rights - lefts) * heights).sum())


def gains(points: Array, front: Array) -> Array:
    """Area that each of `m x 2` points would add to a front from `front_of`; `m`, at least 0.

    The front is a staircase: over each strip between neighbouring first coordinates it has one height, and a point adds
    what it reaches above that, as far to the right as it goes.
    """
    edges = np.append(front[:, 0], 0.0)  # descending; strip i lies between edges i + 1 and i, strip 0 right of all
    heights = np.concatenate([[0.0], front[:, 1]])
    left = edges[:, None]
    right = np.concatenate([[np.inf], edges[:-1]])[:, None]
    widths = np.maximum(np.minimum(points[None, :, 0], right) - left, 0.0)
    added: Array = (widths * np.maximum(points[None, :, 1] - heights[:, None], 0.0)).sum(axis=0)
    return added
