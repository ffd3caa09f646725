"""How far a session is: what was tried, what it found, and how the front has grown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from reconfigure_daemon.ports import TuningRecord
from reconfigure_daemon.tuning.proposing import Proposal
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.surrogate import OBJECTIVES, Quantity, Trial, hypervolume

#: The reference point lies this far beyond the worst energy that was measured; its throughput is none.
_BEYOND = 1.1


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial of the session.

    Attributes:
        trial: what came of it.
        proposal: who proposed it, and what was expected.
        duration_s, energy_j: of the move and the measurement together.
        moved_cold: whether a core booted for it.
    """

    trial: Trial
    proposal: Proposal
    duration_s: float
    energy_j: float
    moved_cold: bool


@dataclass(slots=True)
class Progress:
    """A session under way, or how the last one ended.

    Attributes:
        record: as it is kept.
        wanted: trials in all.
        state: `running`, `finished`, `stopped` or `failed`.
        phase: what happens now.
        current: what is being tried.
        earlier: trials of the session from before it was resumed.
        tried: since then.
        energy_j: spent since it began or was resumed.
    """

    record: TuningRecord
    wanted: int
    state: Literal["running", "finished", "stopped", "failed"] = "running"
    phase: str = "starts"
    current: Proposal | None = None
    earlier: tuple[Trial, ...] = ()
    tried: list[Tried] = field(default_factory=list)
    energy_j: float = 0.0

    @property
    def trials(self) -> list[Trial]:
        """Of the whole session, in order."""
        return [*self.earlier, *(each.trial for each in self.tried)]

    @property
    def configurations(self) -> set[Configuration]:
        """That were tried."""
        return {trial.configuration for trial in self.trials}


def points_of(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    """Throughput and energy of the trials that have both."""
    return [
        (trial.measured[Quantity.THROUGHPUT].value, trial.measured[Quantity.ENERGY].value)
        for trial in trials
        if all(objective in trial.measured for objective in OBJECTIVES)
    ]


def growth(trials: Sequence[Trial]) -> list[float]:
    """Hypervolume of what was measured after each trial, as a share of what it is after the last; never decreases."""
    worst = max((energy for _, energy in points_of(trials)), default=1.0)
    reference = (0.0, _BEYOND * worst)
    volumes = [hypervolume(points_of(trials[: i + 1]), reference, OBJECTIVES) for i in range(len(trials))]
    last = volumes[-1] if volumes else 0.0
    return [volume / last if last > 0 else 0.0 for volume in volumes]


def front_of(trials: Sequence[Trial]) -> list[int]:
    """Places of the trials that no other one beats in both objectives, highest throughput first."""
    known = [
        (-trial.measured[Quantity.THROUGHPUT].value, trial.measured[Quantity.ENERGY].value, place)
        for place, trial in enumerate(trials)
        if all(objective in trial.measured for objective in OBJECTIVES)
    ]
    front, least = [], float("inf")
    for _, energy, place in sorted(known):
        if energy < least:
            front.append(place)
            least = energy
    return front


@dataclass(frozen=True, slots=True)
class Costs:
    """What trials and boots have taken so far; before any, by what a trial is planned to take.

    Attributes:
        trial_j: of a trial without a boot.
        boot_j: what a boot adds.
    """

    trial_j: float
    boot_j: float

    @classmethod
    def of(cls, tried: Sequence[Tried], trial_s: float, assumed_boot_s: float) -> Costs:
        """Medians of what was measured.

        Args:
            tried: so far.
            trial_s: how long a trial is planned to take.
            assumed_boot_s: how long a boot takes before any was measured.
        """
        hot = [each for each in tried if not each.moved_cold and each.energy_j > 0]
        cold = [each for each in tried if each.moved_cold and each.energy_j > 0]
        trial_j = median(each.energy_j for each in hot) if hot else trial_s
        power_w = trial_j / (median(each.duration_s for each in hot) if hot else trial_s)
        boot_j = median(each.energy_j for each in cold) - trial_j if cold else power_w * assumed_boot_s
        return cls(trial_j, max(boot_j, 0.0))
