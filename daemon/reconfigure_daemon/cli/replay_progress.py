"""A replay under way, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.load_generation.open_loop import ReplayProgress

#: Seconds between two lines where there is no terminal.
LINE_INTERVAL_S = 10.0


def progress_line(progress: ReplayProgress) -> str:
    """The state of a replay in one line."""
    rate_rps = progress.sent / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    ttft = "-" if progress.ttft_p50_s is None else format_duration(progress.ttft_p50_s)
    return (
        f"sent {progress.sent}/{progress.planned}  done {progress.ended}  running {progress.running}  "
        f"failed {progress.failed}  late {progress.late}  {rate_rps:.2f} requests/s  TTFT p50 {ttft}"
    )


@contextmanager
def shown_progress(console: Console) -> Iterator[Callable[[ReplayProgress], None]]:
    """A sink for progress that shows it on this console while the block runs."""
    if not console.is_terminal:
        yield _LineProgress(console)
        return
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda progress: bar.update(
            task, total=progress.planned, completed=progress.ended, description=progress_line(progress)
        )


class _LineProgress:
    """Prints a line every `LINE_INTERVAL_S`, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = LINE_INTERVAL_S

    def __call__(self, progress: ReplayProgress) -> None:
        if progress.elapsed_s >= self._next_s:
            self._next_s = progress.elapsed_s + LINE_INTERVAL_S
            self._console.print(f"{format_duration(progress.elapsed_s)}: {progress_line(progress)}")
