"""A long action while it runs: one live line on a terminal, one line for each step elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reconfigure_daemon.cli.control_api_client import Progress
from reconfigure_daemon.cli.output import side_console
from reconfigure_daemon.durations import format_duration


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Progress]:
    """A function that shows each step it is given, until the context ends; programs (`quiet`) see nothing."""
    if quiet:
        yield lambda _: None
        return
    console = side_console()
    if not console.is_terminal:
        yield lambda step: console.print(f"  {step_text(step)}")
        return
    with console.status("asked the daemon") as status:
        yield lambda step: status.update(step_text(step))


def step_text(step: dict[str, Any]) -> str:
    """One step in words, e.g. `boot 4.2s: loading weights`; the time is since the action began."""
    phase = str(step.get("phase", "working")).replace("_", "-")
    detail = f": {step['detail']}" if step.get("detail") else ""
    return f"{phase} {format_duration(float(step.get('elapsed_s', 0)))}{detail}"
