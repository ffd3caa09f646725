"""A cron line in a time zone: when it comes next, and when it came last.

APScheduler's `CronTrigger` does the arithmetic of the calendar, on a clock that never changes. The rest is done here:
weekdays, which it counts from Monday, and the zone's own clock, over whose changes it can miss a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY = re.compile(r"(\*|[a-z]{3}|[0-7])(?:-([a-z]{3}|[0-7]))?(?:/([1-9]))?")
_NOT_CRON = re.compile(r"[^0-9a-z*,/-]")

#: How far back the last coming is looked for: in the dense case a step or two, for 29 February all of them.
_LOOK_BACK = [timedelta(hours=1), timedelta(days=1), timedelta(days=8), timedelta(days=370), timedelta(days=3000)]


#: No zone has set its clocks by more at once, but for whole days at the date line.
_WIDEST_CHANGE = timedelta(hours=3)


class CronLineInvalid(ValueError):
    """The line or its time zone cannot be read; the message says what was found, what is allowed and what to do."""


class Recurrence:
    """The moments that a cron line names.

    A local time that is skipped when clocks go forward comes at that moment. One that occurs twice when they go back
    comes the first time, and both times if the line is for every hour.

    Args:
        line: five fields: minute, hour, day of the month, month, weekday (0 and 7 are Sunday).
        zone: an IANA name such as `Europe/Berlin`.

    Raises:
        CronLineInvalid: if either cannot be read, or the line names no moment at all.
    """

    def __init__(self, line: str, zone: str = "UTC") -> None:
        self.zone = time_zone(zone)
        fields = _fields(line)
        self._every_hour = fields["hour"].startswith("*")
        try:
            self._trigger = CronTrigger(timezone=UTC, **fields)
        except ValueError as fault:
            reason = str(fault).split(": ", 1)[-1].removesuffix(".").lower()
            raise CronLineInvalid(f"found {line!r}: {reason}; change it") from fault
        if self.next(0.0) is None:
            raise CronLineInvalid(f"found {line!r}, a day that never comes; change its day or its month")

    def next(self, after: float) -> float | None:
        """The first moment later than `after`; both wall-clock seconds since the epoch."""
        return next(self.between(after, float("inf")), None)

    def latest(self, at: float) -> float | None:
        """The last moment that is not later than `at`, or None if there was none for years."""
        for back in _LOOK_BACK:
            moments = list(self.between(at - back.total_seconds(), at))
            if moments:
                return moments[-1]
        return None

    def between(self, after: float, until: float) -> Iterator[float]:
        """Every moment later than `after` and not later than `until`, in order."""
        last = after
        for moment in self._moments(after):
            if moment > until:
                return
            if moment > last:
                yield moment
                last = moment

    def _moments(self, after: float) -> Iterator[float]:
        """The line's local times as moments, from some hours before `after`; skipped ones fall together."""
        second: list[float] = []
        for local in self._local_times(datetime.fromtimestamp(after, self.zone) - _WIDEST_CHANGE):
            if self._every_hour and _comes_twice(local):
                second.append(local.replace(fold=1).timestamp())
            else:
                yield from second
                second.clear()
            yield _moment(local)

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        start = start.replace(tzinfo=UTC)
        while (found := self._trigger.get_next_fire_time(None, start)) is not None:
            start = found + timedelta(microseconds=1)
            yield found.replace(tzinfo=self.zone)


def _comes_twice(local: datetime) -> bool:
    return local.replace(fold=0).utcoffset() > local.replace(fold=1).utcoffset()  # type: ignore[operator]


def _moment(local: datetime) -> float:
    """When a local time is; one that is skipped is when the clocks go forward."""
    early, late = sorted(local.replace(fold=fold).timestamp() for fold in (0, 1))
    if _comes_twice(local) or early == late:
        return local.timestamp()
    before = datetime.fromtimestamp(early, local.tzinfo).utcoffset()
    while late - early > 1:  # the change is the first moment with another offset
        middle = (early + late) // 2
        unchanged = datetime.fromtimestamp(middle, local.tzinfo).utcoffset() == before
        early, late = (middle, late) if unchanged else (early, middle)
    return late


def time_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        CronLineInvalid: if there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as fault:
        raise CronLineInvalid(
            f"found the time zone {name!r}; allowed: IANA names, e.g. Europe/Berlin or UTC"
        ) from fault


def _fields(line: str) -> dict[str, str]:
    words = line.lower().split()
    if len(words) != len(_FIELDS) or any(_NOT_CRON.search(word) for word in words):
        raise CronLineInvalid(
            f"found {line!r}; allowed: five fields, minute hour day month weekday, of numbers, names, *, lists, ranges"
            " and steps, e.g. 0 22 * * mon-fri"
        )
    fields = dict(zip(_FIELDS, words, strict=True))
    if fields["day"] != "*" and fields["day_of_week"] != "*":
        raise CronLineInvalid(
            f"found {line!r}, with a day and a weekday, which some programs read as `and`, others as `or`; write * for"
            " one of them, or two schedules"
        )
    fields["day_of_week"] = _weekdays(fields["day_of_week"], line)
    return fields


def _weekdays(field: str, line: str) -> str:
    """The weekdays by name: numbers mean other days to cron than to the trigger."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        match = _WEEKDAY.fullmatch(part)
        bounds = match and _bounds(match[1], match[2], stepped=match[3] is not None)
        if match is None or bounds is None:
            raise CronLineInvalid(
                f"found the weekday {part!r} in {line!r}; allowed: sun to sat, or 0 to 7, e.g. mon-fri"
            )
        days.update(day % 7 for day in range(bounds[0], bounds[1] + 1, int(match[3] or 1)))
    return ",".join(_WEEKDAYS[day] for day in sorted(days))


def _bounds(first: str, last: str | None, *, stepped: bool) -> tuple[int, int] | None:
    """First and last day as numbers from Sunday, the last not before the first; None for what is no weekday."""
    if first == "*":
        return None if last else (0, 6)
    numbers = [
        _WEEKDAYS.index(day) if day in _WEEKDAYS else int(day) if day.isdigit() else -1
        for day in (first, last or first)
    ]
    begin, end = numbers[0], 6 if stepped and last is None else numbers[1]
    if -1 in numbers:
        return None
    return begin, end if end >= begin else end + 7
