"""Clocks and power limits as knobs: the controller moves them like any other, and is not held up by them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.errors import RequestRefused
from reconfigure_policies.domain.decision import OutcomeKind
from reconfigure_policies.domain.objective import Objective
from tests.simulation.cards import machine_with_cards
from tests.unit.metering.conftest import fake_nvml, nvml_library  # noqa: F401  # fixtures
from tests.unit.metering.machine import GPU_IS_LOST, NOT_SUPPORTED


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def told_by(fake_nvml, tmp_path):  # noqa: F811  # a fixture
    """What a story returns that is told with a controller over an emulated engine on two cards."""
    fake_nvml.set(gpus=2)

    def told(story, **facts):
        async def whole():
            async with machine_with_cards(tmp_path, **facts) as machine:
                return await story(machine)

        return in_virtual_time(whole())

    return told


def locked(nvml):
    return [[0, *nvml.was_set(index, "locked_mhz")][-1] for index in (0, 1)]


def test_an_objective_sets_the_cards_too(told_by, fake_nvml):  # noqa: F811
    """All cards of the daemon get the clock and the cap, read back as enforced; the next objective gives them back."""

    async def story(machine):
        handled = await machine.controller.submit("objective", objective=Objective.ENERGY)
        during = locked(fake_nvml), fake_nvml.was_set(1, "power_limit_mw")[-1]
        back = await machine.controller.submit("objective", objective=Objective.THROUGHPUT)
        return handled.record, during, back.record

    record, during, back = told_by(story)
    assert record.outcome.kind is back.outcome.kind is OutcomeKind.APPLIED
    assert set(record.decision.hot) == {"max_num_seqs", "gpu_clock_mhz", "power_cap_w"}
    assert record.outcome.enforced["gpu_clock_mhz"] == 1200
    assert record.outcome.enforced["power_cap_w"] == 450.5
    assert during == ([1200, 1200], 450_500)
    assert locked(fake_nvml) == [0, 0]


def test_a_cold_change_takes_the_cards_along(told_by, fake_nvml):  # noqa: F811
    """The engine host knows nothing of cards; they are set once the new core serves."""

    async def story(machine):
        handled = await machine.controller.submit("apply", changes={"block_size": 32, "gpu_clock_mhz": 900})
        return handled.record, (await machine.engine.host.state()).target

    record, engines_target = told_by(story)
    assert (record.outcome.kind, record.outcome.enforced["gpu_clock_mhz"]) == (OutcomeKind.APPLIED, 900)
    assert engines_target["block_size"] == 32
    assert "gpu_clock_mhz" not in engines_target


def test_only_the_daemons_own_cards_are_touched(told_by, fake_nvml):  # noqa: F811
    """What CUDA_VISIBLE_DEVICES hides belongs to somebody else."""

    async def story(machine):
        await machine.controller.submit("apply", changes={"gpu_clock_mhz": 900})
        return locked(fake_nvml)

    assert told_by(story, choose=lambda _: [1]) == [0, 900]


def test_without_a_helper_the_knobs_are_off_and_objectives_go_on(told_by):
    """An objective moves what can be moved; who names an off knob is told why; serving is untouched."""

    async def story(machine):
        machine.helper.end()
        await asyncio.sleep(2)
        handled = await machine.controller.submit("objective", objective=Objective.ENERGY)
        with pytest.raises(RequestRefused) as refusal:
            await machine.controller.submit("apply", changes={"gpu_clock_mhz": 900})
        return handled.record, str(refusal.value), await machine.state()

    record, refusal, state = told_by(story)
    assert record.outcome.kind is OutcomeKind.APPLIED
    assert dict(record.outcome.enforced) == {"max_num_seqs": 16, "block_size": 16}
    assert "gpu_clock_mhz is off: no device helper answers at" in refusal
    assert "systemctl start reconfigure-device-helper" in refusal
    assert sorted(state.off_knobs) == ["gpu_clock_mhz", "power_cap_w"]
    assert state.capabilities.hot_knobs == ["max_num_seqs"]


def test_a_restarted_helper_is_asked_again(told_by, fake_nvml):  # noqa: F811
    """It put the cards back when it ended, and what was asked for holds again within a tick."""

    async def story(machine):
        await machine.controller.submit("apply", changes={"gpu_clock_mhz": 1200})
        machine.helper.end()
        await asyncio.sleep(3)
        between = locked(fake_nvml)
        machine.helper.start()
        await asyncio.sleep(2)
        return between, (await machine.state()).enforced["gpu_clock_mhz"]

    assert told_by(story) == ([0, 0], 1200)


def test_what_changed_while_a_knob_was_off_is_not_overruled(told_by):
    """A command that came meanwhile was made without the cards, so they stay as they are."""

    async def story(machine):
        await machine.controller.submit("apply", changes={"gpu_clock_mhz": 1200})
        machine.helper.end()
        await asyncio.sleep(2)
        await machine.controller.submit("objective", objective=Objective.ENERGY)
        machine.helper.start()
        await asyncio.sleep(2)
        return await machine.state(), machine.controller.loop.target

    state, target = told_by(story)
    assert state.enforced["gpu_clock_mhz"] == state.target["gpu_clock_mhz"] == target["gpu_clock_mhz"] == 0


def test_a_daemon_that_is_gone_loses_the_cards(told_by, fake_nvml):  # noqa: F811
    """Nobody renews the lease, and the helper puts the cards back by itself."""

    async def story(machine):
        await machine.controller.submit("objective", objective=Objective.ENERGY)
        custody, now_s = machine.helper.custody, machine.helper.now_s()
        custody._now_s = lambda: now_s + 31
        custody.expire()
        return locked(fake_nvml), fake_nvml.was_set(0, "power_limit_mw")[-1]

    assert told_by(story) == ([0, 0], 700_000)


def test_a_card_that_refuses_switches_the_knob_off(told_by, fake_nvml):  # noqa: F811
    """The outcome quotes the card, nothing stays set, and later objectives go without the knob."""

    async def story(machine):
        fake_nvml.gpu(1, clock_error=NOT_SUPPORTED)
        failed = await machine.controller.submit("apply", changes={"gpu_clock_mhz": 900, "max_num_seqs": 16})
        fake_nvml.gpu(1, clock_error=0)
        later = await machine.controller.submit("objective", objective=Objective.ENERGY)
        return failed.record.outcome, later.record.outcome, await machine.state()

    failed, later, state = told_by(story)
    assert failed.kind is OutcomeKind.FAILED
    assert "does not take a clock of 900 MHz: Not Supported" in failed.detail
    assert failed.enforced["max_num_seqs"] == 64
    assert later.kind is OutcomeKind.APPLIED
    assert (later.enforced["power_cap_w"], later.enforced["max_num_seqs"]) == (450.5, 16)
    assert list(state.off_knobs) == ["gpu_clock_mhz"]
    assert locked(fake_nvml) == [0, 0]


def test_two_knobs_of_the_cards_are_set_together_or_not_at_all(told_by, fake_nvml):  # noqa: F811  # a fixture
    """A clock that was set before the cap was refused is set back."""

    async def story(machine):
        fake_nvml.gpu(1, limit_error=NOT_SUPPORTED)
        failed = await machine.controller.submit("apply", changes={"gpu_clock_mhz": 900, "power_cap_w": 300})
        return failed.record.outcome, await machine.state()

    failed, state = told_by(story)
    assert failed.kind is OutcomeKind.FAILED
    assert fake_nvml.was_set(0, "locked_mhz")[0] == 900
    assert locked(fake_nvml) == [0, 0]
    assert state.target["gpu_clock_mhz"] == 0
    assert list(state.off_knobs) == ["power_cap_w"]


def test_a_value_that_is_no_clock_of_the_card_leaves_the_knob_on(told_by, fake_nvml):  # noqa: F811
    """The space may name what another card has; the nearest clocks are told."""
    settings = _with_clock(1000)

    async def story(machine):
        failed = await machine.controller.submit("apply", changes={"gpu_clock_mhz": 1000})
        right = await machine.controller.submit("apply", changes={"gpu_clock_mhz": 900})
        return failed.record.outcome, right.record.outcome

    failed, right = told_by(story, settings=settings)
    assert "nearest are 900 and 1200" in failed.detail
    assert right.kind is OutcomeKind.APPLIED


def test_a_lost_gpu_takes_its_knobs_along_and_brings_them_back(told_by, fake_nvml):  # noqa: F811
    """While it does not answer they are off; the engine is not told about it."""

    async def story(machine):
        fake_nvml.gpu(1, error=GPU_IS_LOST)
        await asyncio.sleep(2)
        lost = await machine.state()
        fake_nvml.gpu(1, error=0)
        await asyncio.sleep(2)
        return lost, await machine.state()

    lost, back = told_by(story)
    assert "GPU-b0000000-fake does not answer (GPU is lost)" in lost.off_knobs["gpu_clock_mhz"]
    assert back.off_knobs == {}
    assert back.enforced["gpu_clock_mhz"] == 0


def test_a_temporary_objective_ends_although_its_knob_went_off(told_by):
    """What it covered is returned to, without the cards, which their helper has freed."""

    async def story(machine):
        await machine.controller.submit("objective", objective=Objective.ENERGY, lasting_s=60)
        machine.helper.end()
        await asyncio.sleep(70)
        return (await machine.state()).enforced, machine.controller.loop.orders.state.objective

    enforced, objective = told_by(story)
    assert enforced == {"max_num_seqs": 64, "block_size": 16}
    assert objective is Objective.THROUGHPUT


def _with_clock(mhz):
    from reconfigure_daemon.settings import Settings
    from tests.simulation.cards import SETTINGS

    plain = SETTINGS.model_dump(mode="json")
    clocks = plain["space"]["gpu_clock_mhz"]
    clocks["values"] = sorted([*clocks["values"], mhz])
    return Settings.model_validate(plain)
