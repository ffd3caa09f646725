"""An engine in virtual time that is driven and read second by second, as the control loop does with a real one."""

from __future__ import annotations

import random
from dataclasses import replace

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_policies.decision.governor.sample import EngineReading, sample_between
from reconfigure_policies.domain.steps import steps_of_all

#: What the totals of several replicas are the sum of.
SUMMED = (
    "iterations",
    "prompt_tokens",
    "cached_prompt_tokens",
    "output_tokens",
    "arrived",
    "finished",
    "preemptions",
    "running",
    "waiting",
)


def poisson(rate_rps, duration_s, prompt=512, output=128, seed=1, start_s=0.0):
    """Arrivals of one shape at random times."""
    draw, at_s, arrivals = random.Random(seed), start_s, []
    while (at_s := at_s + draw.expovariate(rate_rps)) < start_s + duration_s:
        arrivals.append(Arrival(f"{seed}-{len(arrivals)}", at_s, prompt, output))
    return arrivals


def at_clock(model, mhz, lowest_mhz, free_mhz=1980):
    """A card at another clock: arithmetic takes inversely longer and memory as long as before; joules above idle fall
    with the voltage, which below `lowest_mhz` does not fall any further. An assumption, not a measurement."""
    share, voltage = (mhz or free_mhz) / free_mhz, max(mhz or free_mhz, lowest_mhz) / free_mhz
    joules = voltage**1.5
    return replace(
        model,
        compute_s_per_token=model.compute_s_per_token / share,
        step_overhead_s=model.step_overhead_s / share,
        step_energy_base_j=model.step_energy_base_j * joules,
        prefill_energy_j_per_token=model.prefill_energy_j_per_token * joules,
        decode_energy_j_per_token=model.decode_energy_j_per_token * joules,
    )


class Plant:
    """The emulated engine with a space's largest maxima, and everything that finished in it.

    With `replicas`, what is read is what so many that all do the same would say together.
    """

    def __init__(
        self, arrivals, interval_s=0.0, cap=256, budget=8192, model=None, clock_mhz=0, lowest_mhz=1000, replicas=1
    ):
        knobs = SchedulerKnobs(cap, budget, pacing_interval_s=interval_s)
        self.model, self.lowest_mhz = model or EngineModel(), lowest_mhz
        self.scheduler = EmulatedScheduler(at_clock(self.model, clock_mhz, lowest_mhz), knobs)
        for arrival in arrivals:
            self.scheduler.submit(arrival)
        self.records, self.replicas = [], replicas
        self._reading = self._read()

    def second(self, duration_s=1.0):
        """Let time pass; what the governor would see of it."""
        ended = [done.record for done in self.scheduler.advance(self.scheduler.now_s + duration_s)]
        self.records += ended
        before, self._reading = self._reading, self._read()
        return sample_between(before, self._reading, self.replicas * tuple(ended))

    def set(self, changes):
        engine = {name: value for name, value in changes.items() if name != "gpu_clock_mhz"}
        self.scheduler.set_knobs(self.scheduler.knobs.changed(engine))
        if "gpu_clock_mhz" in changes:
            self.scheduler.model = at_clock(self.model, changes["gpu_clock_mhz"], self.lowest_mhz)

    def _read(self):
        one, steps = self.scheduler.totals(), self.scheduler.step_totals()
        summed = {name: self.replicas * getattr(one, name) for name in SUMMED}
        return EngineReading(
            replace(one, **summed), steps_of_all([steps] * self.replicas),
            self.replicas * self.scheduler.energy_j, self.replicas,
        )  # fmt: skip
