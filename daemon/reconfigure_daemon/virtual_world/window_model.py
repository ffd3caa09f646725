"""What one configuration makes of one window: joules, latencies, how many requests meet the SLO, what is left over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite, log
from statistics import NormalDist

from reconfigure_daemon.emulated_engine.model import EngineModel, model_for
from reconfigure_daemon.virtual_world.analytic_engine import setting_of, step_costs_of
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.parallelism import replicas_of
from reconfigure_policies.step_cost import Setting, SteadyState, StepCostModel, Workload, steady_state
from reconfigure_policies.step_cost.rhythm import Z99

#: Shares of the capacity at which an engine works off what it could not serve at once: the first that has a steady
#: state. Capacities are kept by rounded shapes of requests, so that the first may be too much for those of the moment.
_FULL = (0.95, 0.9, 0.85, 0.8)

_HALVINGS = 12

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Served:
    """One window under one configuration.

    Attributes:
        energy_j: of all devices of the deployment, idle ones included.
        slo_met: requests of those that arrived.
        finished: requests that were served in the window.
        steady: latencies and power, see `WindowModel.steady`; infinite latencies where requests had to wait for others.
        backlog: requests that wait at its end.
    """

    energy_j: float
    slo_met: float
    finished: float
    steady: SteadyState | None
    backlog: float = 0.0


@dataclass(slots=True)
class WindowModel:
    """The emulated engine at the grain of windows.

    A window is taken to be steady: queueing theory over the emulated step times gives medians and tails, and shares of
    requests inside a limit follow from a log-normal TTFT and a normal TPOT through them. Past capacity requests queue
    up as a fluid, wait for their turn, and miss the TTFT limit if the wait is longer. Replicas get their shares of the
    arrivals at random; the emulated engine's two, the less loaded of which is chosen, have TTFT tails up to a fifth
    shorter.

    Attributes:
        slo: what requests must meet.
        base: the engine with one GPU.
    """

    slo: ServiceLevelObjective
    base: EngineModel = field(default_factory=EngineModel)
    _costs: dict[Configuration, tuple[StepCostModel, Setting]] = field(default_factory=dict)
    _capacities: dict[tuple[Configuration, int, int], float] = field(default_factory=dict)

    def serve(self, traffic: WindowTraffic, configuration: Configuration, backlog: float = 0.0) -> Served:
        """One window.

        Args:
            traffic: what arrives.
            configuration: what serves.
            backlog: requests that wait at its beginning.
        """
        if traffic.arrivals <= 0:
            return Served(self._idle_power_w(configuration) * traffic.duration_s, 0.0, 0.0, None, 0.0)
        steady = self.steady(traffic.workload, configuration)
        if isfinite(steady.power_w) and backlog <= 0:
            met = traffic.arrivals * self.attainment(steady)
            return Served(steady.power_w * traffic.duration_s, met, traffic.arrivals, steady)
        return self._overloaded(traffic, configuration, backlog)

    def steady(self, workload: Workload, configuration: Configuration) -> SteadyState:
        """The steady state of a workload: the power of all replicas, everything else as each of them has it."""
        if configuration not in self._costs:
            self._costs[configuration] = step_costs_of(configuration, self.base), setting_of(configuration)
        costs, setting = self._costs[configuration]
        replicas = replicas_of(configuration)
        if replicas == 1:
            return steady_state(costs, workload, setting)
        share = steady_state(costs, _at_rate(workload, workload.arrival_rate_rps / replicas), setting)
        return replace(share, power_w=share.power_w * replicas)

    def capacity_rps(self, workload: Workload, configuration: Configuration) -> float:
        """Requests of this shape that can be served each second without end; to a few parts in a thousand."""
        key = (configuration, round(20 * log(workload.prompt_tokens)), round(20 * log(workload.output_tokens)))
        if key not in self._capacities:
            self._capacities[key] = self._capacity_rps(workload, configuration)
        return self._capacities[key]

    def boot_energy_j(self, configuration: Configuration, boot_s: float) -> float:
        """What a deployment takes while it boots beside another, idle power included."""
        boot_power_w = model_for(configuration, self.base).boot_power_w * replicas_of(configuration)
        return (boot_power_w + self._idle_power_w(configuration)) * boot_s

    def attainment(self, steady: SteadyState) -> float:
        """Share of requests that meet the SLO."""
        share = 1.0
        if self.slo.ttft_s is not None:
            share *= _log_normal_below(self.slo.ttft_s, steady.ttft_s, steady.ttft_tail_s)
        if self.slo.tpot_s is not None:
            spread = max(1e-9, (steady.tpot_tail_s - steady.tpot_s) / Z99)
            share *= _NORMAL.cdf((self.slo.tpot_s - steady.tpot_s) / spread)
        return share

    def _overloaded(self, traffic: WindowTraffic, configuration: Configuration, backlog: float) -> Served:
        workload = traffic.workload
        capacity_rps = self.capacity_rps(workload, configuration)
        waiting = backlog + traffic.arrivals
        finished = min(waiting, capacity_rps * traffic.duration_s)
        left = waiting - finished
        wait_s = (backlog + left) / 2 / capacity_rps
        full = self._full(workload, configuration, capacity_rps)
        busy = finished / (capacity_rps * traffic.duration_s)
        energy_j = traffic.duration_s * (busy * full.power_w + (1 - busy) * self._idle_power_w(configuration))
        late = self.slo.ttft_s is not None and wait_s > self.slo.ttft_s
        met = 0.0 if late else traffic.arrivals * self.attainment(full)
        return Served(energy_j, met, finished, full, left)

    def _idle_power_w(self, configuration: Configuration) -> float:
        return model_for(configuration, self.base).idle_power_w * replicas_of(configuration)

    def _full(self, workload: Workload, configuration: Configuration, capacity_rps: float) -> SteadyState:
        for share in _FULL:
            state = self.steady(_at_rate(workload, share * capacity_rps), configuration)
            if isfinite(state.power_w):
                break
        return state

    def _capacity_rps(self, workload: Workload, configuration: Configuration) -> float:
        low, high = 0.0, max(1.0, workload.arrival_rate_rps)
        while isfinite(self.steady(_at_rate(workload, high), configuration).power_w):
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = isfinite(self.steady(_at_rate(workload, middle), configuration).power_w)
            low, high = (middle, high) if fits else (low, middle)
        return max(low, 1e-6)


def _at_rate(workload: Workload, rate_rps: float) -> Workload:
    return Workload(
        rate_rps,
        workload.prompt_tokens,
        workload.context_tokens,
        workload.output_tokens,
        workload.prompt_tail_tokens,
    )


def _log_normal_below(limit: float, median: float, tail: float) -> float:
    """Share below a limit of a log-normal quantity with this median and 99th percentile."""
    spread = max(1e-9, log(max(tail, median) / median) / Z99)
    return _NORMAL.cdf(log(limit / median) / spread)
