"""Plots of a tuning session: the front that was measured, and what was foretold against what was measured."""

from __future__ import annotations

from pathlib import Path

from reconfigure_daemon.cli.plots import Figure, Series, check_drawable, draw
from reconfigure_daemon.control_api.tuning_messages import TriedView, TuningView
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_policies.domain.configuration import Configuration

_UNITS = {"energy_per_output_token_j": "J per output token", "throughput_tps": "tokens/s, saturated"}


_ENDINGS = (".html", ".png")


def make_folder(folder: Path) -> None:
    """Make the folder and see that plots can be drawn into it, before a session that may take hours.

    Raises:
        RequestInvalid: if it cannot be made or written.
        PlotsNotInstalled: if a library is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise RequestInvalid(
            f"found --plots {folder}, which cannot be made ({fault.strerror}); name another folder"
        ) from fault
    check_drawable("--plots", folder, _ENDINGS)


def draw_session(view: TuningView, folder: Path) -> list[Path]:
    """Draw everything that there is to draw into a folder, each as HTML and as PNG; the files, in order.

    Raises:
        PlotsNotInstalled: if a library is missing.
        RequestInvalid: if a file cannot be written.
    """
    figures = {"pareto": pareto_figure(view)}
    for quantity, unit in _UNITS.items():
        figure = calibration_figure(view, quantity, unit)
        if figure is not None:
            figures[f"calibration-{quantity.partition('_')[0]}"] = figure
    paths = [folder / f"{name}{ending}" for name in figures for ending in _ENDINGS]
    for path in paths:
        draw(figures[path.stem], path)
    return paths


def pareto_figure(view: TuningView) -> Figure:
    """Every trial that was measured, the front as a line."""
    both = [t for t in view.trials if all(name in t.measured.measured for name in _UNITS)]
    front = sorted((t for t in both if t.on_front), key=lambda t: t.measured.measured["throughput_tps"])
    series = (
        _points("measured", [t for t in both if not t.on_front]),
        _points("front, measured", front, joined=True),
        _points("before the session", [t for t in both if t.by == "start"]),
    )
    title = f"Pareto front of {len(view.trials)} trials"
    return Figure(title, _UNITS["throughput_tps"], _UNITS["energy_per_output_token_j"], series)


def calibration_figure(view: TuningView, quantity: str, unit: str) -> Figure | None:
    """Foretold, with its 95 % interval, against measured; None where nothing was foretold."""
    pairs = [
        (getattr(trial.expected, quantity), trial.measured.measured[quantity], trial)
        for trial in view.trials
        if trial.expected is not None and quantity in trial.measured.measured
    ]
    known = [(expected, value, trial) for expected, value, trial in pairs if expected is not None]
    if not known:
        return None
    ends = [f(value for _, value, _ in known) for f in (min, max)]
    series = (
        Series("exact", tuple(ends), tuple(ends), joined=True),
        Series(
            "trials",
            tuple(value for _, value, _ in known),
            tuple(expected.median for expected, _, _ in known),
            tuple(_label(trial) for _, _, trial in known),
            y_range=tuple((expected.low, expected.high) for expected, _, _ in known),
        ),
    )
    inside = sum(expected.low <= value <= expected.high for expected, value, _ in known)
    title = f"Calibration: {inside} of {len(known)} inside their 95 % interval"
    return Figure(title, f"measured, {unit}", f"foretold, {unit}", series)


def _points(name: str, trials: list[TriedView], *, joined: bool = False) -> Series:
    measured = [trial.measured.measured for trial in trials]
    return Series(
        name,
        tuple(each["throughput_tps"] for each in measured),
        tuple(each["energy_per_output_token_j"] for each in measured),
        tuple(map(_label, trials)),
        joined=joined,
    )


def _label(trial: TriedView) -> str:
    return f"{trial.number}: {Configuration(trial.measured.configuration)}"
