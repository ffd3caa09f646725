"""How trials become surrogates: functions that run in a worker thread and bring torch when they are first called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconfigure_policies import surrogate
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.surrogate import FitOptions, Quality, Surrogates, Trial

Fit = Callable[[Sequence[Trial], ConfigurationSpace, FitOptions | None, Surrogates | None], Surrogates]


@dataclass(frozen=True, slots=True)
class Methods:
    """Replaceable, so that the room is tested without torch.

    Attributes:
        fit: see `surrogate.fit`.
        quality: see `surrogate.quality`.
    """

    fit: Fit = surrogate.fit
    quality: Callable[[Surrogates], Quality] = surrogate.quality
