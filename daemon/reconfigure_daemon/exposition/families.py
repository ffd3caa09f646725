"""The name, kind, labels and help of every metric that the controller exposes; nothing else names one.

Names begin with `reconfigure_`, end in a base unit, and counters in `_total`. Labels take their values from
enumerations, from the configuration space or from the machine's devices, so their number cannot grow.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

from reconfigure_daemon.exposition.catalogue import Catalogue, Description

_SWITCH_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_STALL_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 3.0, 10.0, 30.0, 100.0)
_TICK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
_FIT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ERROR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


class Families:
    """Every metric family by a short name; groups are the reference's headings."""

    def __init__(self) -> None:
        self._catalogue = Catalogue()
        self._controller("Controller")
        self._engine("Engine")
        self._energy("Energy")
        self._service_level("Service level")
        self._window("Windows")
        self._governor("Governor")
        self._actions("Decisions and switches")
        self._learning("Forecasts and learning")
        self._catalogue.process("Process")

    @property
    def descriptions(self) -> tuple[Description, ...]:
        """Every family as it is exposed, in the order of the reference."""
        return tuple(self._catalogue.descriptions)

    def collect(self) -> Iterable[Metric]:
        """The families with their samples."""
        return self._catalogue.collect()

    def _controller(self, group: str) -> None:
        gauge, histogram = self._catalogue.gauge, self._catalogue.histogram
        self.build = gauge(group, "build_info", "Always 1; the label tells the running version.", "version")
        self.objective = gauge(group, "objective", "1 for the objective in force, 0 for the others.", "objective")
        self.paused = gauge(group, "paused", "1 while the operator has stopped automatic changes.")
        self.store_degraded = gauge(group, "store_degraded", "1 while the store cannot be written; learning is off.")
        self.tick = histogram(group, "control_tick_duration_seconds", "Time of one control loop tick.", _TICK_BUCKETS_S)
        self.lag = histogram(
            group, "control_loop_lag_seconds", "How much later than planned a tick began.", _LAG_BUCKETS_S
        )
        self.last_tick = gauge(
            group, "control_loop_last_tick_timestamp_seconds", "When the last tick ended, seconds since the epoch."
        )

    def _engine(self, group: str) -> None:
        gauge, counter = self._catalogue.gauge, self._catalogue.counter
        self.host_up = gauge(group, "engine_host_up", "1 while the engine host answers on its private socket.")
        self.host = gauge(
            group,
            "engine_host_info",
            "Always 1; what serves. An emulated engine is no measurement.",
            "engine",
            "version",
            "model",
        )
        self.host_started = gauge(
            group, "engine_host_start_time_seconds", "When the engine host started, seconds since the epoch.", "engine"
        )
        self.phase = gauge(group, "engine_phase", "1 for the phase the engine host is in, 0 for the others.", "phase")
        self.configuration = gauge(
            group,
            "configuration_info",
            "Always 1; the knobs that need a new core, as the engine enforces them (`enforced`) and as they were "
            "asked for (`target`). Hot knobs are in `knob_enforced` and `knob_target`.",
            "role",
            "configuration",
        )
        self.knob_enforced = gauge(group, "knob_enforced", "Value that the running core enforces, in its unit.", "knob")
        self.knob_target = gauge(group, "knob_target", "Value that was asked for, in the knob's unit.", "knob")
        self.knob_enforced_text = gauge(
            group, "knob_enforced_info", "Always 1; the enforced value of a knob that is not a number.", "knob", "value"
        )
        self.knob_target_text = gauge(
            group, "knob_target_info", "Always 1; the asked-for value of a knob that is not a number.", "knob", "value"
        )
        self.live = gauge(group, "live_requests", "Requests that the engine host holds, running or waiting.")
        self.running = gauge(group, "running_requests", "Requests in the engine's running batch.")
        self.waiting = gauge(group, "waiting_requests", "Requests in the engine's queue.")
        self.kv_cache = gauge(group, "kv_cache_usage_ratio", "Share of KV cache blocks in use, 0 to 1.")
        self.adoptions = counter(group, "engine_host_adoptions", "Running engine hosts that a controller took over.")
        self.core_restarts = counter(group, "core_restarts", "EngineCores that died and were replaced.")
        self.lost_requests = counter(group, "lost_requests", "Requests that could not be brought through; must stay 0.")
        self.dropped = counter(
            group, "telemetry_dropped", "Request records overwritten before the controller read them."
        )
        self.arrived = counter(group, "requests_arrived", "Requests that the engine received.")
        self.finished = counter(group, "requests_finished", "Requests that ended, in whatever way.")
        self.preemptions = counter(group, "preemptions", "Times that a running request lost its KV cache.")
        self.prompt_tokens = counter(group, "prompt_tokens", "Prompt tokens, those from the prefix cache included.")
        self.cached_prompt_tokens = counter(group, "cached_prompt_tokens", "Prompt tokens found in the prefix cache.")
        self.output_tokens = counter(group, "output_tokens", "Tokens generated.")

    def _energy(self, group: str) -> None:
        gauge, counter = self._catalogue.gauge, self._catalogue.counter
        self.energy = counter(
            group,
            "energy_joules",
            "Energy of a device, idle included; `source` says how it was obtained.",
            "device",
            "source",
        )
        self.power = gauge(group, "power_watts", "Mean power of a device between two readings.", "device", "source")
        self.energy_source = gauge(
            group,
            "energy_source",
            "1 for where a device's joules come from now, 0 for the others; while `unknown`, none are counted.",
            "device",
            "source",
        )

    def _service_level(self, group: str) -> None:
        gauge, counter = self._catalogue.gauge, self._catalogue.counter
        self.slo_requests = counter(
            group,
            "slo_requests",
            "Finished requests by whether they met the SLO in force then; those given up in time are not judged.",
            "verdict",
        )
        self.slo_required = gauge(
            group, "slo_required_attainment_ratio", "Share of requests that must meet the SLO, above 0 to 1."
        )
        self.slo_limit = gauge(
            group, "slo_limit_seconds", "Most that a latency may be for a request to meet the SLO.", "latency"
        )

    def _window(self, group: str) -> None:
        gauge = self._catalogue.gauge
        self.window_energy_per_token = gauge(
            group,
            "window_energy_per_output_token_joules",
            "Joules per output token of the last window, its prefill and idle energy included.",
            "source",
        )
        self.window_attainment = gauge(
            group,
            "window_slo_attainment_ratio",
            "Share of the last window's judged requests that met the SLO; NaN if none.",
        )
        self.window_headroom = gauge(
            group,
            "window_slo_headroom_ratio",
            "Attainment of the last window above the required one; negative is a breach.",
        )
        self.window_arrivals = gauge(group, "window_arrivals_per_second", "Request arrival rate of the last window.")
        self.window_goodput = gauge(
            group,
            "window_goodput_requests_per_second",
            "Rate of the last window's finished requests that met the SLO.",
        )
        self.window_throughput = gauge(
            group, "window_output_tokens_per_second", "Output token throughput of the last window."
        )
        self.window_latency = {
            field: gauge(group, name, f"{latency} of the last window.", "quantile")
            for field, name, latency in (
                ("ttft_s", "window_ttft_seconds", "Time to first token"),
                ("tpot_s", "window_tpot_seconds", "Time per output token after the first"),
                ("itl_s", "window_itl_seconds", "Inter-token latency, each gap counted"),
                ("e2e_latency_s", "window_e2e_latency_seconds", "Latency from arrival to end"),
            )
        }

    def _governor(self, group: str) -> None:
        gauge = self._catalogue.gauge
        self.governor_active = gauge(group, "governor_active", "1 while the governor moves hot knobs by itself.")
        self.governor_stretches = gauge(
            group, "governor_model_samples", "Measured stretches that the governor's model of joules rests on."
        )
        self.governor_headroom = gauge(
            group,
            "governor_slo_headroom_ratio",
            "Share of a latency's limit left free at the demanded attainment over a minute; negative is a breach.",
            "latency",
        )
        self.governor_expected = gauge(
            group,
            "governor_expected_energy_per_output_token_joules",
            "Joules per output token as set now, by the model.",
        )
        self.governor_stock = gauge(
            group,
            "governor_stock_energy_per_output_token_joules",
            "Joules per output token that stock settings would cost at the present load, by the model.",
        )

    def _actions(self, group: str) -> None:
        gauge, counter, histogram = self._catalogue.gauge, self._catalogue.counter, self._catalogue.histogram
        self.intents = counter(group, "intents", "Wishes of operators and schedules.", "kind")
        self.decisions = counter(group, "decisions", "Decisions, those to do nothing included.", "kind")
        self.last_decision = gauge(
            group,
            "last_decision_timestamp_seconds",
            "When the last decision of a kind was made, seconds since the epoch.",
            "kind",
        )
        self.outcomes = counter(group, "decision_outcomes", "What became of decisions.", "kind", "outcome")
        self.switch_duration = histogram(
            group, "switch_duration_seconds", "Time of a successful cold switch.", _SWITCH_BUCKETS_S, "mode"
        )
        self.switch_stall = histogram(
            group,
            "switch_stall_seconds",
            "Pause at a cold switch that 95 of 100 live streams stayed below.",
            _STALL_BUCKETS_S,
            "mode",
        )
        self.switch_energy = counter(
            group, "switch_energy_joules", "Joules of all devices during cold switches, whatever came of them."
        )
        self.replayed_tokens = counter(
            group, "switch_replayed_tokens", "Tokens of live requests that a new core had to compute again."
        )
        self.inexact_requests = counter(
            group, "switch_inexact_requests", "Requests moved to a new core although their replay is not exact."
        )

    def _learning(self, group: str) -> None:
        gauge, counter, histogram = self._catalogue.gauge, self._catalogue.counter, self._catalogue.histogram
        self.forecast = {
            field: gauge(
                group,
                name,
                f"{meaning} that is expected of what is enforced, under the present workload: median and the ends of "
                "its 95 % interval.",
                "bound",
            )
            for field, name, meaning in (
                ("energy_per_output_token_j", "forecast_energy_per_output_token_joules", "Joules per output token"),
                ("throughput_tps", "forecast_output_tokens_per_second", "Output token throughput when saturated"),
                ("ttft_p99_s", "forecast_ttft_p99_seconds", "99th percentile of the time to first token"),
                ("tpot_p99_s", "forecast_tpot_p99_seconds", "99th percentile of the time per output token"),
            )
        }
        self.forecast_error = histogram(
            group,
            "forecast_error_ratio",
            "How far what was measured lay from its forecast's median, as a share of the median.",
            _ERROR_BUCKETS,
            "quantity",
        )
        self.forecasts_checked = counter(
            group,
            "forecasts_checked",
            "Forecasts compared with what was measured, by whether it lay within the 95 % interval.",
            "quantity",
            "within",
        )
        self.surrogate_observations = gauge(
            group, "surrogate_observations", "Observations that a surrogate was fitted to.", "quantity"
        )
        self.surrogate_error = gauge(
            group,
            "surrogate_error_ratio",
            "Mean error of a surrogate on observations that were held out, as a share of the measured value.",
            "quantity",
        )
        self.surrogate_coverage = gauge(
            group,
            "surrogate_coverage_ratio",
            "Share of held-out observations within a surrogate's 95 % interval; near 0.95 if it is honest.",
            "quantity",
        )
        self.surrogate_fit = histogram(
            group, "surrogate_fit_duration_seconds", "Time to fit all surrogates once.", _FIT_BUCKETS_S
        )
        self.front_size = gauge(group, "pareto_front_configurations", "Configurations on the Pareto front.")
        self.hypervolume = gauge(
            group,
            "pareto_hypervolume",
            "Hypervolume between the Pareto front and the worst that was measured, in tokens per second times joules "
            "per token; it grows as better configurations are found.",
        )
        self.shifts = counter(
            group, "workload_shifts", "Shifts of the workload that were detected, by what shifted.", "quantity"
        )
