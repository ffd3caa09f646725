"""`reconfigure schedule` for people: each change with the time of its own zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reconfigure_daemon.control_api.messages import CalendarView, SpanView
from reconfigure_daemon.durations import format_duration


def calendar_page(calendar: CalendarView, days: int) -> RenderableType:
    """What holds by the calendar, and what comes."""
    now = "Outside every schedule now."
    if calendar.in_force is not None:
        span = calendar.in_force
        now = f"By the calendar now: {span.objective}, schedule {span.schedule} since {_local(span.begins_at, span)}."
    if not calendar.coming:
        return Group(Text(now), Text(f"Nothing begins within {days} days."))
    return Group(Text(now), Text(), spans_table(calendar.coming))


def spans_table(spans: Sequence[SpanView]) -> Table:
    """Spans, one a row."""
    table = Table(
        "begins", "time zone", "objective", "schedule", "until", box=None, pad_edge=False, header_style="bold"
    )
    for span in spans:
        until = "the next one begins" if span.ends_at is None else _local(span.ends_at, span)
        table.add_row(_local(span.begins_at, span), span.timezone, span.objective, span.schedule, until)
    return table


def next_change(span: SpanView, now: float) -> str:
    """The next change by the calendar in one line."""
    in_time = format_duration(span.begins_at - now)
    return (
        f"{span.objective} at {_local(span.begins_at, span)} {span.timezone} (in {in_time}, schedule {span.schedule})"
    )


def _local(at: float, span: SpanView) -> str:
    return f"{datetime.fromtimestamp(at, ZoneInfo(span.timezone)):%a %Y-%m-%d %H:%M}"
