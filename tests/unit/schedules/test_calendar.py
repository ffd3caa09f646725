from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconfigure_daemon.schedules import Calendar, Recurrence, Schedule
from reconfigure_policies.domain.objective import Objective

HOUR_S = 3600.0


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def schedule(name, line, objective, lasts_s=None, zone="UTC"):
    return Schedule(name, Objective(objective), Recurrence(line, zone), lasts_s)


DAY = schedule("day", "0 6 * * *", "throughput")
NIGHT = schedule("night", "0 22 * * *", "energy")
BATCH = schedule("batch", "0 2 * * *", "balanced", 2 * HOUR_S)


@pytest.mark.parametrize(
    ("now", "name"),
    [
        ("01:00", "night"),
        ("02:00", "batch"),
        ("03:59", "batch"),
        ("04:00", "night"),
        ("06:00", "day"),
        ("21:59", "day"),
    ],
)
def test_the_schedule_that_began_last_holds(now, name):
    """A short one lies over a long one, which is back when the short one is over."""
    assert Calendar([DAY, NIGHT, BATCH]).at(at(f"2027-05-05 {now}")).schedule == name


def test_a_later_beginning_cuts_a_longer_span_short():
    """Twelve hours from 22:00 end at 6:00 where another schedule begins then."""
    long_night = schedule("night", "0 22 * * *", "energy", 12 * HOUR_S)
    assert Calendar([long_night, DAY]).at(at("2027-05-05 07:00")).schedule == "day"


def test_outside_every_schedule_nothing_holds():
    """The calendar then wants nothing, and says what comes next."""
    calendar = Calendar([BATCH])
    assert calendar.at(at("2027-05-05 12:00")) is None
    assert calendar.next(at("2027-05-05 12:00")).begins_at == at("2027-05-06 02:00")
    assert Calendar().at(0.0) is Calendar().next(0.0) is None


def test_what_comes_is_told_in_order_and_bounded():
    """However many schedules, their spans come soonest first, and no more than were asked for."""
    coming = Calendar([DAY, NIGHT, BATCH]).coming(at("2027-05-05 12:00"), at("2027-05-07 12:00"), 5)
    assert [span.schedule for span in coming] == ["night", "batch", "day", "night", "batch"]
    assert [span.begins_at for span in coming] == sorted(span.begins_at for span in coming)


def test_an_edited_schedule_no_longer_has_its_old_spans():
    """A span belongs to the calendar only as long as name, time, objective and length are the same."""
    span = Calendar([NIGHT]).at(at("2027-05-05 23:00"))
    assert Calendar([NIGHT, DAY]).has(span)
    assert not Calendar([DAY]).has(span)
    assert not Calendar([schedule("night", "30 22 * * *", "energy")]).has(span)
    assert not Calendar([schedule("night", "0 22 * * *", "balanced")]).has(span)
    assert not Calendar([schedule("night", "0 22 * * *", "energy", HOUR_S)]).has(span)


def test_two_that_begin_together_and_differ_contradict_each_other():
    """Also across time zones, and when it happens only once a year."""
    rare = schedule("new_year", "0 22 31 12 *", "throughput")
    berlin = schedule("berlin", "0 23 * * *", "balanced", zone="Europe/Berlin")
    found = Calendar([NIGHT, rare, berlin, DAY]).contradictions(at("2027-05-05 12:00"))
    assert [(clash.first.name, clash.second.name) for clash in found] == [
        ("night", "new_year"), ("night", "berlin"), ("new_year", "berlin"),
    ]  # fmt: skip
    assert found[0].at == at("2027-12-31 22:00")


def test_a_clash_beyond_the_many_comings_of_a_dense_schedule_is_found():
    """A line for every minute is asked about each of the rare one's moments, not listed to the end of the year."""
    dense = schedule("dense", "*/5 * * * *", "energy")
    rare = schedule("rare", "35 3 1 4 *", "throughput")
    assert len(Calendar([dense, rare]).contradictions(at("2027-05-05 12:00"))) == 1
    assert Calendar([dense, schedule("odd", "36 3 1 4 *", "throughput")]).contradictions(at("2027-05-05 12:00")) == []


def test_two_that_want_the_same_agree():
    """Weekdays and a holiday may name the same hour, as long as both want the same."""
    same = schedule("holiday", "0 22 31 12 *", "energy")
    assert Calendar([NIGHT, same]).contradictions(at("2027-05-05 12:00")) == []
