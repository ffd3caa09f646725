"""Clock, token budget, running cap and pace are chosen together, and clocks are the first to be given back."""

from __future__ import annotations

import asyncio
import logging
from itertools import product

import pytest

from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.objective import ServiceLevelObjective
from tests.simulation.cards import SETTINGS
from tests.simulation.governed import INTERVALS_S, SPACE, attainment, governed, quantile, ungoverned
from tests.simulation.plant import poisson
from tests.simulation.test_device_knobs import locked, told_by  # noqa: F401  # a fixture
from tests.simulation.test_governing import by_itself, traffic
from tests.unit.metering.conftest import fake_nvml, nvml_library  # noqa: F401  # fixtures

CLOCKS_MHZ = (0, 900, 1200, 1590)
WITH_CLOCKS = ConfigurationSpace((*SPACE.knobs, Knob("gpu_clock_mhz", Tier.HOT, CLOCKS_MHZ, 0)))


def clocks_of(run):
    """The clock after each change, by its second."""
    mhz = [(second, reason) for second, reason in run.changes if "gpu_clock_mhz from" in reason]
    return [(second, int(reason.split("gpu_clock_mhz from ")[1].split(" to ")[1].split(",")[0].split(":")[0]))
            for second, reason in mhz]  # fmt: skip


@pytest.mark.parametrize("rate_rps", [2, 10, 30])
def test_it_comes_close_to_the_best_fixed_clock_and_pace(rate_rps):
    """At most a tenth above the cheapest of all fixed pairs inside the SLO, and far below the best pace alone."""
    arrivals = poisson(rate_rps, 420, seed=rate_rps)
    run = governed(arrivals, 420, warm_s=240, space=WITH_CLOCKS, with_clocks=True)
    costs_j = {}
    for mhz, interval_s in product(CLOCKS_MHZ, INTERVALS_S):
        fixed = ungoverned(arrivals, 420, interval_s, warm_s=240, clock_mhz=mhz, budget=2048)
        if attainment(fixed.records) >= 0.99:
            costs_j[mhz, interval_s] = fixed.energy_per_output_token_j
    alone_j = min(joules for (mhz, _), joules in costs_j.items() if mhz == 0)
    assert run.energy_per_output_token_j <= 1.1 * min(costs_j.values())
    assert run.energy_per_output_token_j <= 0.8 * alone_j
    assert attainment(run.records) >= 0.99
    assert [mhz for _, mhz in clocks_of(run)] == [1590, 1200, 900]  # one by one, each tried for a while


def test_a_burst_gets_the_clock_back_within_a_second_and_what_was_learned_is_not_tried_again():
    """Ten times the load while slow: everything is given back at once, and afterwards it returns without a trial."""
    arrivals = poisson(3, 500, seed=3) + poisson(27, 10, seed=4, start_s=240)
    run = governed(arrivals, 500, space=WITH_CLOCKS, with_clocks=True)
    stock = ungoverned(arrivals, 500)
    clocks = clocks_of(run)
    assert (240, 0) in clocks
    (second, mhz) = clocks[clocks.index((240, 0)) + 1]
    assert mhz == 900
    assert 260 <= second < 330
    assert "should cost" in next(reason for at, reason in run.changes if at == second)
    during = [
        quantile([r.ttft_s for r in records if 240 <= r.arrived_s < 250], 0.99)
        for records in (run.records, stock.records)
    ]
    assert during[0] <= 2.5 * during[1]  # the prompts of one second are computed at less than half of the clock
    assert attainment(run.records) >= 0.99


def test_a_clock_that_saves_nothing_is_left_again():
    """Where joules do not fall with the clock, steps are only longer: one trial, and the cards choose again."""
    run = governed(poisson(5, 420, seed=5), 420, space=WITH_CLOCKS, with_clocks=True, lowest_mhz=1980)
    assert [mhz for _, mhz in clocks_of(run)][:2] == [1590, 0]
    assert run.configuration["gpu_clock_mhz"] == 0
    assert "the cards' own clock should cost" in next(r for _, r in run.changes if "from 1590 to 0" in r)


def test_no_clock_is_tried_at_which_the_service_level_might_not_hold():
    """Long prompts beside a short TPOT: a step that takes twice as long would break it, so nobody finds out."""
    slo = ServiceLevelObjective(ttft_s=0.35, tpot_s=0.02)
    run = governed(poisson(4, 300, 6000, 30, seed=6), 300, slo, space=WITH_CLOCKS, with_clocks=True)
    assert clocks_of(run) == []
    assert any("pacing_interval_s" in reason or "max_num_batched_tokens" in reason for _, reason in run.changes)


def test_clocks_are_left_alone_unless_it_is_told_to_move_them():
    """They are the operator's by default, in whatever space."""
    run = governed(poisson(5, 240, seed=7), 240, space=WITH_CLOCKS)
    assert run.intervals_s[-1] > 0
    assert clocks_of(run) == []


GOVERNED_CARDS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [64, 256], "default": 256},
            "pacing_interval_s": {"values": [0, 0.01, 0.02, 0.03, 0.045]},
            "gpu_clock_mhz": {"values": list(CLOCKS_MHZ)},
        },
        "objectives": {"energy": {"pacing_interval_s": 0.01}, "throughput": {"pacing_interval_s": 0}},
        "start_objective": "energy",
        "slo": {"ttft_s": 1.0, "tpot_s": 0.05},
        "governor": {"enabled": True, "clocks": True},
        "device": SETTINGS.device.model_dump(),
    }
)


def test_the_daemons_cards_follow_and_are_given_back(told_by, fake_nvml):  # noqa: F811
    """The controller sets them through the device helper. These cards cost the same at any clock: they choose again."""

    async def story(machine):
        async with traffic(machine.engine.host, 5):
            seen = []
            for _ in range(300):
                await asyncio.sleep(1)
                seen.append(tuple(locked(fake_nvml)))
        return list(dict.fromkeys(seen)), await by_itself(machine.controller)

    seen, decisions = told_by(story, settings=GOVERNED_CARDS)
    assert seen[:2] == [(0, 0), (1590, 1590)]
    assert locked(fake_nvml) == [0, 0]
    reasons = [each.decision.reason for each in decisions if "gpu_clock_mhz" in each.decision.hot]
    assert "even if every step took as much longer" in reasons[0]
    assert "saves nothing worth it" in reasons[1]


def test_a_pause_gives_the_cards_back(told_by, fake_nvml):  # noqa: F811
    """As it does with a pace: what was asked for holds again."""

    async def story(machine):
        async with traffic(machine.engine.host, 5):
            for _ in range(300):
                await asyncio.sleep(1)
                if locked(fake_nvml) == [1590, 1590]:
                    break
            during = locked(fake_nvml)
            await machine.controller.submit("pause")
            await asyncio.sleep(3)
        return during

    assert told_by(story, settings=GOVERNED_CARDS) == [1590, 1590]
    assert locked(fake_nvml) == [0, 0]


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)
