"""A tuning session while it runs: a bar with the front as it grows, or one line for each trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconfigure_daemon.cli.output import side_console
from reconfigure_daemon.cli.wording import assignments
from reconfigure_daemon.control_api.tuning_messages import TriedView, TuningView

_BLOCKS = "▁▂▃▄▅▆▇█"
_LONGEST_GROWTH = 24


@contextmanager
def shown_session(*, quiet: bool) -> Iterator[Callable[[TuningView], None]]:
    """A function that shows the session as it is, until the context ends; programs (`quiet`) see nothing."""
    if quiet:
        yield lambda _: None
        return
    console = side_console()
    if not console.is_terminal:
        told = 0

        def tell(view: TuningView) -> None:
            nonlocal told
            for trial in view.trials[told:]:
                console.print(f"  {trial_line(trial, view)}")
            told = len(view.trials)

        yield tell
        return
    from rich import progress  # here, because only a terminal needs it

    columns = (
        progress.BarColumn(20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starts", total=None)

        def update(view: TuningView) -> None:
            bar.update(
                task, completed=len(view.trials), total=view.wanted, description=session_line(view), refresh=True
            )

        yield update


def session_line(view: TuningView) -> str:
    """What was found so far, and what happens now."""
    front = [trial for trial in view.trials if trial.on_front]
    found = f"front of {len(front)} {grown(view.growth)}, {best_words(view)}" if front else "nothing measured yet"
    current = "" if view.current is None else f" {differing(view.current, view)}"
    return f"{found}; {view.phase}{current}"


def trial_line(trial: TriedView, view: TuningView) -> str:
    """One trial in a line."""
    measured = trial.measured
    if not measured.feasible:
        changes = differing(measured.configuration, view)
        return f"{trial.number} of {view.wanted} does not work, {changes}: {measured.reason}"
    energy, throughput = (measured.measured.get(name) for name in ("energy_per_output_token_j", "throughput_tps"))
    figures = f"{_figure(energy)} J/token, {_figure(throughput)} tokens/s"
    mark = ", on the front" if trial.on_front else ""
    return f"{trial.number} of {view.wanted} ({trial.by}): {figures}{mark}; {differing(measured.configuration, view)}"


def best_words(view: TuningView) -> str:
    """The best of each objective."""
    energies = [t.measured.measured["energy_per_output_token_j"] for t in view.trials if t.on_front]
    throughputs = [t.measured.measured["throughput_tps"] for t in view.trials if t.on_front]
    return f"best {min(energies):.3g} J/token and {max(throughputs):.4g} tokens/s"


def grown(growth: list[float]) -> str:
    """The hypervolume's growth as a line of blocks, the latest last."""
    shown = growth[-_LONGEST_GROWTH:]
    return "".join(_BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)] for share in shown)


def differing(configuration: dict[str, bool | int | float | str], view: TuningView) -> str:
    """What a configuration changes of the one from before."""
    changes = {name: value for name, value in configuration.items() if view.restore.get(name) != value}
    return assignments(changes) if changes else "as before the session"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
