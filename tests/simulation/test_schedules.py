from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.decision import DecisionKind
from reconfigure_policies.domain.objective import Objective
from tests.simulation import controller as simulated

HOUR_S = 3600.0
NIGHT = {"cron": "0 22 * * *", "objective": "energy"}
DAY = {"cron": "0 6 * * *", "objective": "throughput"}
EIGHT_HOURS = {**NIGHT, "lasts": "8h"}


def settings(**schedules):
    base = simulated.SETTINGS.model_dump(mode="json", exclude_unset=True)
    base["objectives"]["throughput"] = {}
    base["objectives"]["balanced"] = {"max_num_seqs": 32}
    return Settings.model_validate(base | {"metering": {"interval_s": 20}, "schedules": schedules})


class Days:
    """A controller under a calendar, at a wall-clock time that a test chooses."""

    def __init__(self, directory, chosen):
        self.directory = directory
        self.settings = chosen
        self.launcher = simulated.InProcessLauncher(chosen)
        self.controller = None

    def set_clock(self, text):
        """Set the wall clock, as a person or NTP does; the monotonic one goes on."""
        now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        self.launcher.clock._wall_at_zero = now - self.launcher.clock.monotonic()

    async def until(self, text):
        """Let time pass until a little after a wall-clock time."""
        end = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() + 45
        await asyncio.sleep(end - self.launcher.clock.wall())

    @asynccontextmanager
    async def controlled(self):
        async with simulated.Controller.running(
            self.directory, self.launcher, lambda: self.settings
        ) as self.controller:
            await self.controller.serving()
            yield self.controller

    @property
    def objective(self):
        return self.controller.loop.orders.state.objective.value

    async def told(self):
        """Who asked for an objective so far, and for which."""
        intents = [record.decision.intent for record in await self.controller.history()]
        return [(intent.source, intent.objective.value) for intent in intents if intent and intent.objective]


def story(tmp_path, chosen, start, tell):
    """What a story returns that is told of a controller which begins at a wall-clock time."""

    async def whole():
        days = Days(tmp_path, chosen)
        days.set_clock(start)
        result = await tell(days)
        await days.launcher.end()
        return result

    return in_virtual_time(whole())


def test_a_night_begins_and_ends_by_the_calendar(tmp_path):
    """Each change is an intent of its schedule, and the engine enforces the objective's configuration."""

    async def tell(days):
        async with days.controlled() as controller:
            await days.until("2027-05-05 21:58")
            before = days.objective
            await days.until("2027-05-05 22:00")
            night = days.objective, (await controller.loop.keeper.host.state()).enforced["max_num_seqs"]
            await days.until("2027-05-06 06:00")
            return before, night, days.objective, await days.told(), (await controller.history())[-2].decision.reason

    before, night, after, told, reason = story(
        tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell
    )  # fmt: skip
    assert (before, night, after) == ("throughput", ("energy", 16), "throughput")
    assert told == [("schedule day", "throughput"), ("schedule night", "energy"), ("schedule day", "throughput")]
    assert "for objective energy, as schedule night asked" in reason


def test_a_night_that_lasts_gives_back_what_it_covered(tmp_path):
    """After eight hours the operator's own objective is back, not the one at start."""

    async def tell(days):
        async with days.controlled() as controller:
            await controller.submit("objective", objective=Objective.BALANCED)
            await days.until("2027-05-05 22:00")
            night = days.objective
            await days.until("2027-05-06 06:00")
            return night, days.objective, await days.told()

    night, after, told = story(tmp_path, settings(night=EIGHT_HOURS), "2027-05-05 21:00", tell)
    assert (night, after) == ("energy", "balanced")
    assert told == [("cli", "balanced"), ("schedule night", "energy"), ("schedule", "balanced")]


@pytest.mark.parametrize(("back", "objective"), [("2027-05-07 01:00", "energy"), ("2027-05-08 12:00", "throughput")])
def test_what_was_missed_is_made_up_for_by_the_one_change_that_holds_now(tmp_path, back, objective):
    """A daemon that was down for days does not go through every night of them."""

    async def tell(days):
        async with days.controlled():
            await days.until("2027-05-05 12:00")
        days.set_clock(back)
        async with days.controlled():
            await asyncio.sleep(60)
            return days.objective, await days.told()

    now, told = story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 11:00", tell)
    assert now == objective
    assert len(told) == 2  # the day that held at first, and what holds now


def test_a_late_night_still_ends_in_time(tmp_path):
    """A machine that slept from 21:00 to 1:00 has its night until 6:00, not until 9:00."""

    async def tell(days):
        async with days.controlled():
            days.set_clock("2027-05-06 01:00")
            await asyncio.sleep(60)
            late = days.objective
            await days.until("2027-05-06 06:00")
            return late, days.objective

    assert story(tmp_path, settings(night=EIGHT_HOURS), "2027-05-05 21:00", tell) == ("energy", "throughput")


def test_an_operator_s_word_holds_until_the_next_schedule_begins(tmp_path):
    """In the middle of the night somebody wants throughput: so be it until the calendar speaks again."""

    async def tell(days):
        async with days.controlled() as controller:
            await days.until("2027-05-05 23:00")
            await controller.submit("objective", objective=Objective.BALANCED)
            await days.until("2027-05-06 05:58")
            held = days.objective
            await days.until("2027-05-06 06:00")
            return held, days.objective

    assert story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell) == ("balanced", "throughput")


def test_a_temporary_objective_is_waited_for(tmp_path):
    """`--for 3h` from 21:00 keeps the night waiting until midnight, and the night then begins at once."""

    async def tell(days):
        async with days.controlled() as controller:
            await asyncio.sleep(60)
            await controller.submit("objective", objective=Objective.BALANCED, lasting_s=3 * HOUR_S)
            await days.until("2027-05-05 23:58")
            held = days.objective
            await days.until("2027-05-06 00:05")
            return held, days.objective, await days.told()

    held, after, told = story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell)
    assert (held, after) == ("balanced", "energy")
    assert told[1:] == [("cli", "balanced"), ("schedule night", "energy")]  # nothing came back in between


def test_a_pause_holds_the_calendar_back_until_resume(tmp_path):
    """It is said once that the night waits, and after resume what holds then begins."""

    async def tell(days):
        async with days.controlled() as controller:
            await asyncio.sleep(60)
            await controller.submit("pause")
            await days.until("2027-05-05 23:00")
            held, said = days.objective, [record.decision.reason for record in await controller.history()]
            await controller.submit("resume")
            await asyncio.sleep(60)
            return held, said, days.objective

    held, said, after = story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell)
    assert (held, after) == ("throughput", "energy")
    waits = [reason for reason in said if "although schedule night wants energy" in reason]
    assert len(waits) == 1
    assert waits[0].endswith("automatic changes are paused; `reconfigure resume` lets it begin.")


@pytest.mark.parametrize(
    ("set_to", "objective"),
    [("2027-05-05 21:30", "throughput"), ("2027-05-05 23:30", "energy"), ("2027-05-05 22:29:30", "energy")],
)
def test_a_clock_that_is_set_is_followed(tmp_path, set_to, objective):
    """What holds by the clock holds, whichever way it was set, and 22:00 comes again after it was set back."""

    async def tell(days):
        async with days.controlled():
            await days.until("2027-05-05 22:30")
            days.set_clock(set_to)
            await asyncio.sleep(60)
            stepped = days.objective
            await days.until("2027-05-05 23:45")
            return stepped, days.objective

    assert story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell) == (objective, "energy")


def test_seconds_back_just_after_a_change_undo_nothing(tmp_path):
    """An NTP correction over the beginning of the night makes one change, not three."""

    async def tell(days):
        async with days.controlled():
            await days.until("2027-05-05 22:00")
            days.set_clock("2027-05-05 21:59:30")
            await days.until("2027-05-05 22:05")
            return await days.told()

    told = story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell)
    assert told == [("schedule day", "throughput"), ("schedule night", "energy")]


@pytest.mark.parametrize(
    ("start", "before", "begins"),
    [
        ("2027-03-27 23:00", "2027-03-28 00:58", "2027-03-28 01:00"),  # 2:30 is skipped: 3:00 CEST
        ("2027-10-30 23:00", "2027-10-31 00:28", "2027-10-31 00:30"),  # the first 2:30, CEST
    ],
)
def test_a_schedule_on_the_night_clocks_change_comes_once(tmp_path, start, before, begins):
    """In Berlin 2:30 is skipped in spring and comes twice in autumn; either way there is one change."""
    berlin = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "objective": "energy"}

    async def tell(days):
        async with days.controlled() as controller:
            await asyncio.sleep(120)
            await controller.submit("objective", objective=Objective.BALANCED)
            await days.until(before)
            early = days.objective
            await days.until(begins)
            late = days.objective
            await controller.submit("objective", objective=Objective.BALANCED)
            await asyncio.sleep(3 * HOUR_S)
            return early, late, days.objective

    chosen = settings(night=berlin)
    assert story(tmp_path, chosen, start, tell) == ("balanced", "energy", "balanced")


def test_a_reload_changes_the_calendar(tmp_path):
    """New settings hold from the next tick on; a schedule that is gone does not speak any more."""

    async def tell(days):
        async with days.controlled():
            await days.until("2027-05-05 22:00")
            night = days.objective
            days.settings = settings(night={"cron": "0 23 * * *", "objective": "balanced"}, day=DAY)
            await asyncio.sleep(60)
            day = days.objective
            await days.until("2027-05-05 23:00")
            return night, day, days.objective

    chosen = settings(night=NIGHT, day=DAY)
    assert story(tmp_path, chosen, "2027-05-05 21:00", tell) == ("energy", "throughput", "balanced")


def test_a_night_that_cannot_be_had_is_a_decision_to_keep(tmp_path):
    """If the engine's space no longer has what the objective wants, it is said once, in the schedule's name."""

    async def tell(days):
        async with days.controlled() as controller:
            await asyncio.sleep(60)
            days.settings = _without_configuration(days.settings)
            await days.until("2027-05-05 22:05")
            return days.objective, (await controller.history())[-1].decision, len(await days.told())

    objective, last, told = story(tmp_path, settings(night=NIGHT, day=DAY), "2027-05-05 21:00", tell)
    assert objective == "throughput"
    assert (last.kind, last.intent.source, told) == (DecisionKind.KEEP, "schedule night", 2)
    assert "no configuration is named for objective energy" in last.reason


def _without_configuration(chosen):
    return chosen.model_copy(update={"objectives": {}})
