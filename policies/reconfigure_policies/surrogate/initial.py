"""Where to begin: points that cover the space evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.surrogate.canonical import Canonical
from reconfigure_policies.surrogate.encoding import encoding_of


def sobol_design(
    candidates: Sequence[Configuration], space: ConfigurationSpace, count: int, seed: int, canonical: Canonical
) -> tuple[Configuration, ...]:
    """See `reconfigure_policies.surrogate.initial_design`."""
    encoding = encoding_of(space, (), canonical)
    distinct = list({encoding.effective(candidate): candidate for candidate in reversed(candidates)}.values())[::-1]
    if not distinct or not encoding.inputs:
        return tuple(distinct[:count])
    inputs, _ = encoding.of_knobs([encoding.effective(candidate) for candidate in distinct])
    wanted = min(count, len(distinct))
    doublings = max(wanted - 1, 0).bit_length()
    cube = qmc.Sobol(inputs.shape[1], rng=np.random.default_rng(seed)).random_base2(doublings)[:wanted]
    free = np.ones(len(distinct), dtype=np.bool_)
    chosen: list[Configuration] = []
    for point in cube:
        distances = ((inputs - point) ** 2).sum(axis=1)
        nearest = int(np.where(free, distances, np.inf).argmin())
        free[nearest] = False
        chosen.append(distinct[nearest])
    return tuple(chosen)
