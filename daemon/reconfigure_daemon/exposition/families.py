"""The name, kind, labels and help of every metric that the controller exposes; nothing else names one.

Names begin with `reconfigure_`, end in a base unit, and counters in `_total`. Labels take their values from
enumerations, from the configuration space or from the machine's devices, so their number cannot grow.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric

_SWITCH_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_STALL_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 3.0, 10.0, 30.0, 100.0)
_TICK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Families:
    """Every metric family, in a registry of its own, so that two controllers in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._controller()
        self._engine()
        self._energy()
        self._governor()
        self._window()
        self._actions()

    def collect(self) -> Iterable[Metric]:
        """The families with their samples; when a series began is left out, Prometheus does not need it."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def _controller(self) -> None:
        self.build = self._gauge("build_info", "Always 1; the label tells the running version.", "version")
        self.objective = self._gauge("objective", "1 for the objective in force, 0 for the others.", "objective")
        self.paused = self._gauge("paused", "1 while the operator has stopped automatic changes.")
        self.store_degraded = self._gauge("store_degraded", "1 while the store cannot be written; learning is off.")
        self.tick = self._histogram("control_tick_duration_seconds", "Time of one control loop tick.", _TICK_BUCKETS_S)

    def _engine(self) -> None:
        self.host_up = self._gauge("engine_host_up", "1 while the engine host answers on its private socket.")
        self.host = self._gauge(
            "engine_host_info",
            "Always 1; what serves. An emulated engine is no measurement.",
            "engine",
            "version",
            "model",
        )
        self.phase = self._gauge("engine_phase", "1 for the phase the engine host is in, 0 for the others.", "phase")
        self.knob_enforced = self._gauge("knob_enforced", "Value that the running core enforces, in its unit.", "knob")
        self.knob_target = self._gauge("knob_target", "Value that was asked for, in the knob's unit.", "knob")
        self.knob_enforced_text = self._gauge(
            "knob_enforced_info", "Always 1; the enforced value of a knob that is not a number.", "knob", "value"
        )
        self.knob_target_text = self._gauge(
            "knob_target_info", "Always 1; the asked-for value of a knob that is not a number.", "knob", "value"
        )
        self.live = self._gauge("live_requests", "Requests that the engine host holds, running or waiting.")
        self.running = self._gauge("running_requests", "Requests in the engine's running batch.")
        self.waiting = self._gauge("waiting_requests", "Requests in the engine's queue.")
        self.kv_cache = self._gauge("kv_cache_usage_ratio", "Share of KV cache blocks in use, 0 to 1.")
        self.adoptions = self._counter("engine_host_adoptions", "Running engine hosts that a controller took over.")
        self.core_restarts = self._counter("core_restarts", "EngineCores that died and were replaced.")
        self.lost_requests = self._counter("lost_requests", "Requests that could not be brought through; must stay 0.")
        self.dropped = self._counter(
            "telemetry_dropped", "Request records overwritten before the controller read them."
        )
        self.arrived = self._counter("requests_arrived", "Requests that the engine received.")
        self.finished = self._counter("requests_finished", "Requests that ended, in whatever way.")
        self.preemptions = self._counter("preemptions", "Times that a running request lost its KV cache.")
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens, those from the prefix cache included.")
        self.cached_prompt_tokens = self._counter("cached_prompt_tokens", "Prompt tokens found in the prefix cache.")
        self.output_tokens = self._counter("output_tokens", "Tokens generated.")

    def _energy(self) -> None:
        self.energy = self._counter(
            "energy_joules", "Energy of a device, idle included; `source` says how it was obtained.", "device", "source"
        )
        self.power = self._gauge("power_watts", "Mean power of a device between two readings.", "device", "source")

    def _governor(self) -> None:
        self.governor_active = self._gauge("governor_active", "1 while the governor moves hot knobs by itself.")
        self.governor_stretches = self._gauge(
            "governor_model_samples", "Measured stretches that the governor's model of joules rests on."
        )
        self.governor_headroom = self._gauge(
            "governor_slo_headroom_ratio",
            "Share of a latency's limit left free at the demanded attainment over a minute; negative is a breach.",
            "latency",
        )
        self.governor_expected = self._gauge(
            "governor_expected_energy_per_output_token_joules", "Joules per output token as set now, by the model."
        )
        self.governor_stock = self._gauge(
            "governor_stock_energy_per_output_token_joules",
            "Joules per output token that stock settings would cost at the present load, by the model.",
        )

    def _window(self) -> None:
        self.window_energy_per_token = self._gauge(
            "window_energy_per_output_token_joules",
            "Joules per output token of the last window, its prefill and idle energy included.",
            "source",
        )
        self.window_attainment = self._gauge(
            "window_slo_attainment_ratio", "Share of the last window's finished requests that met the SLO; NaN if none."
        )
        self.window_headroom = self._gauge(
            "window_slo_headroom_ratio", "Attainment of the last window above the required one; negative is a breach."
        )
        self.window_arrivals = self._gauge("window_arrivals_per_second", "Request arrival rate of the last window.")
        self.window_goodput = self._gauge(
            "window_goodput_requests_per_second", "Rate of the last window's finished requests that met the SLO."
        )
        self.window_throughput = self._gauge(
            "window_output_tokens_per_second", "Output token throughput of the last window."
        )
        self.window_latency = {
            "ttft_s": self._quantiles("window_ttft_seconds", "Time to first token"),
            "tpot_s": self._quantiles("window_tpot_seconds", "Time per output token after the first"),
            "itl_s": self._quantiles("window_itl_seconds", "Inter-token latency, each gap counted"),
            "e2e_latency_s": self._quantiles("window_e2e_latency_seconds", "Latency from arrival to end"),
        }

    def _actions(self) -> None:
        self.intents = self._counter("intents", "Wishes of operators and schedules.", "kind")
        self.decisions = self._counter("decisions", "Decisions, those to do nothing included.", "kind")
        self.outcomes = self._counter("decision_outcomes", "What became of decisions.", "kind", "outcome")
        self.switch_duration = self._histogram(
            "switch_duration_seconds", "Time of a successful cold switch.", _SWITCH_BUCKETS_S, "mode"
        )
        self.switch_stall = self._histogram(
            "switch_stall_seconds",
            "Pause at a cold switch that 95 of 100 live streams stayed below.",
            _STALL_BUCKETS_S,
            "mode",
        )

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"reconfigure_{name}", meaning, labels, registry=self._registry)

    def _quantiles(self, name: str, latency: str) -> Gauge:
        return self._gauge(name, f"{latency} of the last window.", "quantile")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"reconfigure_{name}_total", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"reconfigure_{name}", meaning, labels, buckets=buckets, registry=self._registry)
