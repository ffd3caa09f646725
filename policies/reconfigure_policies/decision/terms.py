"""What an operator allows the daemon to change by itself, and what a change must promise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecisionTerms:
    """The guardrails' numbers; `decision` in config.yaml.

    Attributes:
        balanced_energy_weight: of energy under the balanced objective, 0 to 1; throughput has the rest.
        caution: how far towards the worse end of its interval a forecast is read, 0 (its median) to 1.
        min_saving: least share by which a change must improve the objective.
        min_feasibility: least probability that a core boots under the target.
        min_dwell_s: no second redeploy sooner than this after one.
        max_switches_per_hour: redeploys of the daemon's own; those that roll back count, and are never held back. The
            last one is kept for when the SLO does not hold, so that there is a way back from what was saved.
        expected_stay_s: how long a workload is expected to last, and a redeploy to pay off.
        assumed_switch_s: how long a redeploy takes before any was measured.
        canary_s: how long a redeploy is watched before it is trusted.
        distrust_s: how long a configuration that fell short is not chosen again.
        exploration_share: of the energy used, that exploring may spend; 0 never explores.
        exploration_headroom: share of every latency's limit that must be free before and while exploring.
    """

    balanced_energy_weight: float = 0.5
    caution: float = 0.25
    min_saving: float = 0.03
    min_feasibility: float = 0.9
    min_dwell_s: float = 600.0
    max_switches_per_hour: int = 6
    expected_stay_s: float = 3600.0
    assumed_switch_s: float = 60.0
    canary_s: float = 180.0
    distrust_s: float = 21600.0
    exploration_share: float = 0.0
    exploration_headroom: float = 0.3
