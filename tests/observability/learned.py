"""A controller that learns: the real metrics object, told over some seconds what surrogates would tell it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from reconfigure_daemon.exposition import Metrics
from reconfigure_policies.decision.governor import GovernorView
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow
from reconfigure_policies.step_cost import SteadyState

QUANTITIES = ("energy_per_output_token_j", "throughput_tps", "ttft_p99_s", "tpot_p99_s")
FORECAST = Forecast(
    Configuration(), WorkloadContext(2.0, 500.0, 200.0), Estimate(1.8, 1.6, 2.1), Estimate(900.0, 800.0, 1000.0),
    Estimate(0.3, 0.2, 0.5), Estimate(0.04, 0.03, 0.05),
)  # fmt: skip
WINDOW = WorkloadWindow(
    0.0, 30.0, 60, 60, 59, 30_000, 9_000, 12_000, 0, 8.0, 0.0, Percentiles(0.1, 0.2, 0.3),
    Percentiles(0.03, 0.04, 0.05), Percentiles(0.03, 0.035, 0.04), Percentiles(4.0, 6.0, 8.0),
    energy_j=21_600.0, energy_source="measured",
)  # fmt: skip

AT_45_MS = SteadyState(0.046, 0.047, 0.03, 0.09, 300.0, 1.7, 30.0, 0.3, 0.2, 0.01)
GOVERNED = GovernorView(0.4, 0.1, AT_45_MS, replace(AT_45_MS, energy_per_output_token_j=2.5), 0.32, None)


class LearningController:
    """Each scrape finds that a little more has been learned."""

    def __init__(self) -> None:
        self._metrics = Metrics("1.2.3")
        self._step = count(1)

    def render(self) -> bytes:
        metrics, step = self._metrics, next(self._step)
        metrics.observe_energy(
            EnergyReading(
                float(step),
                (
                    DeviceEnergy("gpu0", EnergySource.MEASURED, 300.0 * step, 300.0),
                    DeviceEnergy("package-0", EnergySource.MEASURED, 90.0 * step, 90.0),
                ),
            )
        )
        metrics.observe_window(WINDOW, ServiceLevelObjective(ttft_s=0.5))
        metrics.observe_governor(True, float(step), GOVERNED)
        metrics.observe_shift(["arrival_rate_rps"])
        metrics.observe_forecast(FORECAST)
        for quantity in QUANTITIES:
            metrics.observe_surrogate(quantity, 10 + step, 0.3 / step, 0.93)
            metrics.observe_forecast_check(quantity, Estimate(1.0, 0.9, 1.1), 1.05 if step % 5 else 1.2)
        metrics.observe_fit(0.8)
        metrics.observe_front(3 + step % 4, 10.0 + step)
        return metrics.render()


@contextmanager
def learning_controller() -> Iterator[int]:
    """Its port."""
    controller, lock = LearningController(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                text = controller.render()
            self.send_response(200)
            self.send_header("Content-Type", Metrics.content_type)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing is worth a line."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
