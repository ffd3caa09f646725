"""An engine in virtual time that is driven and read second by second, as the control loop does with a real one."""

from __future__ import annotations

import random

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_policies.decision.governor.sample import EngineReading, sample_between


def poisson(rate_rps, duration_s, prompt=512, output=128, seed=1, start_s=0.0):
    """Arrivals of one shape at random times."""
    draw, at_s, arrivals = random.Random(seed), start_s, []
    while (at_s := at_s + draw.expovariate(rate_rps)) < start_s + duration_s:
        arrivals.append(Arrival(f"{seed}-{len(arrivals)}", at_s, prompt, output))
    return arrivals


class Plant:
    """The emulated engine with a space's largest maxima, and everything that finished in it."""

    def __init__(self, arrivals, interval_s=0.0, cap=256, budget=8192, model=None):
        knobs = SchedulerKnobs(cap, budget, pacing_interval_s=interval_s)
        self.scheduler = EmulatedScheduler(model or EngineModel(), knobs)
        for arrival in arrivals:
            self.scheduler.submit(arrival)
        self.records = []
        self._reading = self._read()

    def second(self, duration_s=1.0):
        """Let time pass; what the governor would see of it."""
        ended = [done.record for done in self.scheduler.advance(self.scheduler.now_s + duration_s)]
        self.records += ended
        before, self._reading = self._reading, self._read()
        return sample_between(before, self._reading, tuple(ended))

    def set(self, changes):
        self.scheduler.set_knobs(self.scheduler.knobs.changed(changes))

    def _read(self):
        totals = self.scheduler.totals()
        return EngineReading(totals, self.scheduler.step_totals(), self.scheduler.energy_j)
