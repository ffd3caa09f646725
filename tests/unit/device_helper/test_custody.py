"""Cards get back to what they were, whatever happens; through the real pynvml and the compiled fake driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconfigure_daemon.device_helper.refusal import Refused
from tests.unit.device_helper.conftest import Helper
from tests.unit.metering.machine import DRIVER_NOT_LOADED, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED

LEASE_S = 30.0


def test_a_clock_is_locked_reported_and_unlocked(helper: Helper) -> None:
    """A lock is an upper bound, is shown while it holds, and 0 lets the card choose again."""
    [uuid] = helper.uuids()
    helper.custody.set_clock("daemon", [uuid], 1200, LEASE_S)
    [(card, held)] = helper.custody.cards()
    assert (helper.locked(), card.sm_clock_mhz, held.clock_mhz, held.holder) == (1200, 1200, 1200, "daemon")
    helper.custody.set_clock("daemon", [uuid], 0, LEASE_S)
    assert helper.locked() == 0
    assert helper.custody.cards()[0][1] is None
    assert not helper.file.path.exists()


def test_a_power_cap_returns_to_the_limit_that_was_found(helper: Helper) -> None:
    """An administrator's own limit, not the factory's, is what 0 and the end restore."""
    [uuid] = helper.uuids()
    helper.custody.set_power_cap("daemon", [uuid], 500, LEASE_S)
    helper.custody.set_power_cap("daemon", [uuid], 300, LEASE_S)
    assert helper.limit_w() == 300
    helper.custody.set_power_cap("daemon", [uuid], 0, LEASE_S)
    assert helper.limit_w() == 700


def test_a_found_limit_is_never_exceeded(helper: Helper) -> None:
    """The daemon saves energy: it may not lift what somebody has limited before."""
    [uuid] = helper.uuids()
    helper.custody.set_power_cap("administrator", [uuid], 400, LEASE_S)  # leaves 400 W set, as nvidia-smi would
    helper.file.write({})
    after = helper.fresh()
    with pytest.raises(Refused, match=r"500 W is outside what .* may have: 200 to 400 W"):
        after.set_power_cap("daemon", [uuid], 500, LEASE_S)
    after.set_power_cap("daemon", [uuid], 250, LEASE_S)
    after.give_up("daemon")
    assert helper.limit_w() == 400


def test_the_file_is_there_before_the_card_is_changed(helper: Helper) -> None:
    """A card that is changed without being noted could stay changed for ever, so an unwritable file stops it."""
    [uuid] = helper.uuids()
    helper.file.path.with_suffix(".new").mkdir()
    with pytest.raises(Refused, match="cannot be written"):
        helper.custody.set_clock("daemon", [uuid], 1200, LEASE_S)
    assert helper.nvml.was_set(0, "locked_mhz") == []


def test_a_killed_helper_is_made_good_by_the_next(helper: Helper) -> None:
    """What the file names is put back at the start, and the file goes with it."""
    [uuid] = helper.uuids()
    helper.custody.set_clock("daemon", [uuid], 900, LEASE_S)
    helper.custody.set_power_cap("daemon", [uuid], 300, LEASE_S)
    assert json.loads(helper.file.path.read_text())["cards"][uuid] == {"power_limit_w": 700, "clock_locked": True}
    helper.fresh().take_up()
    assert (helper.locked(), helper.limit_w()) == (0, 700)
    assert not helper.file.path.exists()


def test_a_damaged_file_frees_every_card(helper: Helper) -> None:
    """Something was changed and nobody knows what: all cards get free clocks and their default limit."""
    helper.nvml.set(gpus=2)
    helper.custody.set_power_cap("daemon", helper.uuids(), 300, LEASE_S)
    helper.file.path.write_text('{"cards": [')
    helper.fresh().take_up()
    assert [helper.limit_w(0), helper.limit_w(1)] == [700, 700]
    assert helper.file.path.with_suffix(".damaged").exists()


def test_who_does_not_renew_loses_the_card(helper: Helper) -> None:
    """A lease that runs out puts the card back; one that is renewed does not run out."""
    [uuid] = helper.uuids()
    helper.custody.set_clock("daemon", [uuid], 1200, LEASE_S)
    for _ in range(3):
        helper.now.advance(20)
        helper.custody.renew("daemon", LEASE_S)
        helper.custody.expire()
    assert helper.locked() == 1200
    helper.now.advance(LEASE_S)
    helper.custody.renew("another", LEASE_S)
    helper.custody.expire()
    assert helper.locked() == 0


def test_two_daemons_do_not_share_a_card(helper: Helper) -> None:
    """The second is refused by name of the first, and other cards stay open to it."""
    helper.nvml.set(gpus=2)
    first, second = helper.uuids()
    helper.custody.set_clock("var/run", [first], 1200, LEASE_S)
    with pytest.raises(Refused, match="var/run holds one of these cards"):
        helper.custody.set_clock("other", [second, first], 900, LEASE_S)
    helper.custody.set_clock("other", [second], 900, LEASE_S)
    assert (helper.locked(0), helper.locked(1)) == (1200, 900)


@pytest.mark.parametrize(
    ("mhz", "words"),
    [
        (1000, "has 5 from 345 to 1980, nearest are 900 and 1200"),
        (3000, "nearest are 1980;"),
        (100, "nearest are 345;"),
    ],
)
def test_a_clock_outside_the_cards_own_is_refused_with_the_nearest(helper: Helper, mhz: int, words: str) -> None:
    """The driver would take anything and round; the helper takes what the card has."""
    with pytest.raises(Refused, match=words) as refusal:
        helper.custody.set_clock("daemon", helper.uuids(), mhz, LEASE_S)
    assert not refusal.value.by_card
    assert helper.nvml.was_set(0, "locked_mhz") == []


@pytest.mark.parametrize("watts", [199, 701])
def test_a_cap_outside_the_cards_range_is_refused(helper: Helper, watts: float) -> None:
    """The range is the card's own."""
    with pytest.raises(Refused, match="200 to 700 W"):
        helper.custody.set_power_cap("daemon", helper.uuids(), watts, LEASE_S)


def test_a_card_that_refuses_undoes_the_others(helper: Helper) -> None:
    """Cards of one deployment are set together or not at all, with what was set before."""
    helper.nvml.set(gpus=2)
    helper.custody.set_clock("daemon", helper.uuids(), 1590, LEASE_S)
    helper.nvml.gpu(1, clock_error=NOT_SUPPORTED)
    with pytest.raises(Refused, match="does not take a clock of 900 MHz: Not Supported") as refusal:
        helper.custody.set_clock("daemon", helper.uuids(), 900, LEASE_S)
    assert refusal.value.by_card
    assert helper.nvml.was_set(0, "locked_mhz") == [1590, 900, 1590]
    assert helper.locked(1) == 1590


def test_a_card_that_takes_a_clock_and_ignores_it_is_unlocked(helper: Helper) -> None:
    """NVML cannot read a lock back, so the clock that the card runs at is the judge."""
    helper.nvml.gpu(0, sm_clock_mhz=1700)
    with pytest.raises(Refused, match="took a clock of 1200 MHz and runs at 1700 MHz"):
        helper.custody.set_clock("daemon", helper.uuids(), 1200, LEASE_S)
    assert helper.nvml.was_set(0, "locked_mhz")[-1] == 0
    assert not helper.file.path.exists()


def test_a_lock_that_somebody_else_lifted_is_not_reported(helper: Helper) -> None:
    """What is shown as set is what the card obeys now."""
    helper.custody.set_clock("daemon", helper.uuids(), 1200, LEASE_S)
    helper.nvml.gpu(0, sm_clock_mhz=1980)
    assert helper.custody.cards()[0][1].clock_mhz == 0


def test_denied_says_which_capability_is_missing(helper: Helper) -> None:
    """The operator learns what the unit lacks; the card stays as it is."""
    helper.nvml.gpu(0, limit_error=NO_PERMISSION, clock_error=NO_PERMISSION)
    with pytest.raises(Refused, match="Insufficient Permissions; the helper needs CAP_SYS_ADMIN"):
        helper.custody.set_power_cap("daemon", helper.uuids(), 300, LEASE_S)
    assert helper.limit_w() == 700


def test_a_lost_card_is_put_back_once_it_answers(helper: Helper) -> None:
    """It stays in the file until then, across helpers, and is looked for again."""
    helper.custody.set_clock("daemon", helper.uuids(), 1200, LEASE_S)
    helper.nvml.gpu(0, error=GPU_IS_LOST)
    helper.custody.put_back()
    assert helper.locked() == 1200
    following = helper.fresh()
    following.take_up()
    assert helper.file.path.exists()
    helper.nvml.gpu(0, error=0)
    helper.now.advance(10)
    following.expire()
    assert helper.locked() == 0
    assert not helper.file.path.exists()


def test_no_driver_and_no_card_are_told_apart(helper: Helper) -> None:
    """Both are a sentence."""
    helper.nvml.set(gpus=0)
    with pytest.raises(Refused, match="shows no GPU"):
        helper.custody.cards()
    helper.nvml.set(init_error=DRIVER_NOT_LOADED)
    with pytest.raises(Refused, match="NVML does not start; is the NVIDIA driver loaded"):
        helper.custody.cards()


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("clock"), st.sampled_from("ab"), st.sampled_from([0, 345, 900, 1200, 1980, 7])),
        st.tuples(st.just("power"), st.sampled_from("ab"), st.sampled_from([0, 200, 450, 700, 9])),
        st.tuples(st.just("wait"), st.just("a"), st.sampled_from([1, 20, 40])),
        st.tuples(st.just("fail"), st.just("a"), st.sampled_from([0, NOT_SUPPORTED])),
        st.tuples(st.just("kill"), st.just("a"), st.just(0)),
    ),
    max_size=12,
)


@given(commands=COMMANDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_it_went_nothing_stays_changed(helper: Helper, commands: list[tuple[str, str, int]]) -> None:
    """After any commands, failures, leases and kills, one healthy life of the helper leaves every card as it was."""
    helper.nvml.set(gpus=2)
    helper.custody = helper.fresh()
    uuids = helper.uuids()
    for kind, holder, value in commands:
        try:
            match kind:
                case "clock":
                    helper.custody.set_clock(holder, uuids, value, LEASE_S)
                case "power":
                    helper.custody.set_power_cap(holder, uuids[:1], value, LEASE_S)
                case "wait":
                    helper.now.advance(value)
                    helper.custody.expire()
                case "fail":
                    helper.nvml.gpu(1, clock_error=value)
                case "kill":
                    helper.custody = helper.fresh()
                    helper.custody.take_up()
        except Refused:
            pass
    helper.nvml.gpu(1, clock_error=0)
    helper.fresh().take_up()
    assert [helper.locked(0), helper.locked(1), helper.limit_w(0), helper.limit_w(1)] == [0, 0, 700, 700]
    assert not helper.file.path.exists()


def test_a_path_that_cannot_be_read_is_damage(helper: Helper, tmp_path: Path) -> None:
    """A file of another form is kept for whoever wants to look, and its helper starts all the same."""
    helper.file.path.write_text('{"cards": {"GPU-a": {"power_limit_w": "much", "clock_locked": true}}}')
    helper.custody.take_up()
    assert (tmp_path / "restore.damaged").exists()
    assert not helper.file.path.exists()
