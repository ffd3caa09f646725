"""The calendar of objectives: cron lines in time zones, read with APScheduler's triggers."""

from reconfigure_daemon.schedules.calendar import Calendar, Schedule
from reconfigure_daemon.schedules.cron_line import CronLineInvalid, Recurrence, time_zone

__all__ = ["Calendar", "CronLineInvalid", "Recurrence", "Schedule", "time_zone"]
