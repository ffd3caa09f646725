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
        yield lambda step: console.print(
            f"  {step_text(step)} after {format_duration(float(step.get('elapsed_s', 0)))}"
        )
        return
    from rich import progress  # here, because only a terminal needs it

    columns = progress.SpinnerColumn(), progress.TextColumn("{task.description}", markup=False)
    with progress.Progress(*columns, progress.TimeElapsedColumn(), console=console, transient=True) as line:
        task = line.add_task("asked the daemon", total=None)  # its clock runs on between the steps
        yield lambda step: line.update(task, description=step_text(step), refresh=True)


def step_text(step: dict[str, Any]) -> str:
    """One step in words, e.g. `boot: loading weights`."""
    detail = f": {step['detail']}" if step.get("detail") else ""
    return str(step.get("phase", "at work")).replace("_", "-") + detail
