from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_daemon.schedules import CronLineInvalid, Recurrence, time_zone

BERLIN = ZoneInfo("Europe/Berlin")
YEAR_2027 = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
LINES = ["*/7 * * * *", "0 22 * * *", "30 2 * * sun", "15 */5 1,15 * *", "0 0 29 2 *", "59 23 31 12 *"]


def local(line, start, count, zone="Europe/Berlin"):
    """The next moments as local time with its offset."""
    after = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    moments = islice(Recurrence(line, zone).between(after, float("inf")), count)
    return [datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat(timespec="minutes") for at in moments]


def test_a_line_is_read_in_its_own_time_zone():
    """22:00 in Berlin is 21:00 UTC in winter and 20:00 UTC in summer."""
    for month, hour in ((1, 21), (7, 20)):
        start = datetime(2027, month, 10, tzinfo=UTC).timestamp()
        assert datetime.fromtimestamp(Recurrence("0 22 * * *", "Europe/Berlin").next(start), UTC).hour == hour


def test_a_time_that_spring_skips_comes_when_clocks_go_forward():
    """2:30 does not exist on that day; the schedule comes at 3:00, when it would have been 2:00, and once."""
    assert local("30 2 * * *", "2027-03-26T12:00", 3) == [
        "2027-03-27T02:30+01:00", "2027-03-28T03:00+02:00", "2027-03-29T02:30+02:00",
    ]  # fmt: skip


def test_a_time_that_autumn_repeats_comes_once():
    """2:30 happens twice on the day clocks go back; the first one counts."""
    assert local("30 2 * * *", "2027-10-30T12:00", 2) == ["2027-10-31T02:30+02:00", "2027-11-01T02:30+01:00"]


def test_an_hourly_line_comes_every_hour_of_the_longest_day():
    """A line for every hour is about hours that pass, so both of autumn's 2 o'clocks count."""
    assert local("0 * * * *", "2027-10-30T23:30", 3) == [
        "2027-10-31T02:00+02:00", "2027-10-31T02:00+01:00", "2027-10-31T03:00+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", {"Sun"}), ("7", {"Sun"}), ("1-5", {"Mon", "Tue", "Wed", "Thu", "Fri"}), ("sat,sun", {"Sat", "Sun"}),
        ("fri-mon", {"Fri", "Sat", "Sun", "Mon"}), ("*/2", {"Sun", "Tue", "Thu", "Sat"}),
        ("5-7", {"Fri", "Sat", "Sun"}),
    ],
)  # fmt: skip
def test_weekdays_are_those_of_cron(field, days):
    """Sunday is 0 and 7, and ranges may go over the week's end."""
    moments = Recurrence(f"0 12 * * {field}").between(YEAR_2027, YEAR_2027 + 14 * 86400)
    assert {f"{datetime.fromtimestamp(at, UTC):%a}" for at in moments} == days


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 22 * *", "five fields"),
        ("@daily", "five fields"),
        ("0 22 * * mon#2", "five fields"),
        ("61 * * * *", "the last value (61) is higher than the maximum value (59)"),
        ("*/0 * * * *", "increment must be higher than 0"),
        ("0 0 * foo *", "foo"),
        ("0 0 * * 8", "the weekday '8'"),
        ("0 0 * * mon-xyz", "the weekday 'mon-xyz'"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 1 * mon", "two schedules"),
    ],
)
def test_what_is_no_cron_line_is_refused_in_words(line, words):
    """The message quotes the line and says what is wrong with it."""
    with pytest.raises(CronLineInvalid, match="found") as refused:
        Recurrence(line)
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_refused(name):
    """Nothing but names of the time zone database is taken, and no path leads out of it."""
    with pytest.raises(CronLineInvalid, match="IANA names"):
        time_zone(name)


def test_no_day_is_missed_after_a_change_of_clocks():
    """Midnight of the first of April comes, though clocks went forward since the last time."""
    assert local("0 0 1 * *", "2027-03-02T00:00", 2) == ["2027-04-01T00:00+02:00", "2027-05-01T00:00+02:00"]


def test_half_an_hour_is_a_change_too():
    """Lord Howe Island moves its clocks by thirty minutes."""
    assert local("15 2 * * *", "2027-10-02T00:00", 2, "Australia/Lord_Howe") == [
        "2027-10-03T02:30+11:00", "2027-10-04T02:15+11:00",
    ]  # fmt: skip


@given(st.text(max_size=30), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_any_text_is_read_or_refused(line, zone):
    """Whatever a settings file holds, the answer is a recurrence or one named error."""
    with suppress(CronLineInvalid):
        assert Recurrence(line, zone).next(YEAR_2027) > YEAR_2027


@settings(deadline=None)  # looking back for years takes its time on a busy machine
@given(st.sampled_from(LINES), st.floats(YEAR_2027, YEAR_2027 + 3 * 365 * 86400))
def test_the_last_and_the_next_are_neighbours(line, at):
    """Nothing comes between the latest moment and the next one."""
    recurrence = Recurrence(line, "Europe/Berlin")
    latest, following = recurrence.latest(at), recurrence.next(at)
    assert latest <= at < following
    assert recurrence.next(latest) == following
    assert recurrence.latest(latest) == latest
