"""A tuning session that has ended, in a table and sentences."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from reconfigure_daemon.cli.learned_wording import NAMES, value_words, workload_words
from reconfigure_daemon.cli.tune_progress import differing
from reconfigure_daemon.control_api.tuning_messages import TriedView, TuningView
from reconfigure_daemon.durations import format_duration


def show_session(console: Console, view: TuningView) -> None:
    """How it ended, the front that was measured, and how far what was foretold was off."""
    from reconfigure_daemon.cli.tune import mean_error

    lasted = "" if view.ended_at is None else f" in {format_duration(max(0.0, view.ended_at - view.started_at))}"
    failed = sum(not trial.measured.feasible for trial in view.trials)
    infeasible = f", {failed} of them do not work" if failed else ""
    console.print(f"{view.state.capitalize()}{lasted}: {view.outcome}.")
    console.print(
        f"{len(view.trials)} configurations{infeasible}, {view.energy_j:.0f} J ({view.energy_source}), under "
        f"{workload_words(view.context)}."
    )
    front = sorted((t for t in view.trials if t.on_front), key=_throughput, reverse=True)
    if not front:
        return
    table = Table("trial", *NAMES.values(), "differs from before", box=None, pad_edge=False, header_style="bold")
    for trial in front:
        table.add_row(f"{trial.number} ({trial.by})", *_figures(trial), differing(trial.measured.configuration, view))
    start = next((t for t in view.trials if t.by == "start" and not t.on_front), None)
    if start is not None:
        table.add_row(f"{start.number} (start)", *_figures(start), "not on the front")
    console.print(table)
    for name in ("throughput_tps", "energy_per_output_token_j"):
        error = mean_error(view, name)
        if error is not None:
            console.print(
                f"What was foretold of {NAMES[name]} before it was measured was off by {error:.1%} on average."
            )


def _throughput(trial: TriedView) -> float:
    return trial.measured.measured["throughput_tps"]


def _figures(trial: TriedView) -> list[str]:
    measured = trial.measured.measured
    return [value_words(name, measured[name]) if name in measured else "-" for name in NAMES]
