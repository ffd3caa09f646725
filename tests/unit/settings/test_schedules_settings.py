"""A calendar is read whole and refused by the name and the line of the schedule that is wrong."""

from __future__ import annotations

import pytest

from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import load_settings

REST = """decision: {enabled: false}
space: {max_num_seqs: {values: [16, 64]}}
objectives: {energy: {max_num_seqs: 16}, throughput: {}}
schedules:
"""
NIGHT = "  night: {cron: 0 22 * * *, timezone: Europe/Berlin, objective: energy, lasts: 8h}\n"


@pytest.fixture
def load(tmp_path):
    def loaded(text):
        path = tmp_path / "config.yaml"
        path.write_text(REST + text)
        return load_settings(path, {})

    return loaded


def faults_of(load, text):
    with pytest.raises(SettingsInvalid) as refused:
        load(text)
    return [fault.partition("config.yaml:")[2] for fault in refused.value.faults]


def test_a_schedule_becomes_part_of_the_calendar(load):
    """Name, line, time zone, objective and length arrive as they were written."""
    (night,) = load(NIGHT).calendar().schedules
    assert (night.name, night.objective, night.lasts_s) == ("night", "energy", 8 * 3600)
    assert night.recurrence.zone.key == "Europe/Berlin"


@pytest.mark.parametrize(
    ("schedule", "found", "remedy"),
    [
        ("{cron: 61 * * * *, objective: energy}", "cron: found '61 * * * *'", "maximum value (59)"),
        ("{cron: 0 22 * * *, timezone: Mars, objective: energy}", "timezone: found the time zone 'Mars'", "IANA names"),
        ("{cron: 0 22 * * *, objective: energy, lasts: 8}", "lasts: found 8", "a text"),
        ("{cron: 0 22 * * *, objective: energy, lasts: 8}", "lasts: found 8", "write numbers with d, h, m, s or ms"),
        ("{cron: 0 22 * * *, objective: energy, lasts: 8x}", "lasts: '8x' is not a duration", "e.g. 8h"),
        ("{cron: 0 22 * * *, objective: balanced}", "objective: found balanced", "add it to objectives"),
        ("{objective: energy}", "cron: is missing", "say when it begins"),
        ("{cron: 0 22 * * *}", "objective: is missing", "say what it wants"),
        ("{cron: 0 23 * * *, objective: energy, last: 8h}", "last: found an unknown key", "did you mean 'lasts'?"),
    ],
)
def test_a_wrong_schedule_is_refused_by_name_with_its_line(load, schedule, found, remedy):
    """One fault is one sentence at the schedule's own line; the others are not blamed."""
    (fault,) = faults_of(load, f"{NIGHT}  odd: {schedule}\n")
    assert fault.startswith(f"6: schedules.odd.{found}")
    assert remedy in fault


def test_schedules_that_contradict_each_other_are_refused(load):
    """The later one's line, the earlier one's name, the first moment of both and what each wants."""
    (fault,) = faults_of(
        load, NIGHT + "  party: {cron: 0 22 31 12 *, timezone: Europe/Berlin, objective: throughput}\n"
    )
    assert fault.startswith("6: schedules.party.cron: begins together with schedule 'night' at ")
    assert "-12-31 22:00 (Europe/Berlin) and wants throughput where that one wants energy for 8h" in fault
