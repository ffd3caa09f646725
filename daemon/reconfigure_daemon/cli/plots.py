"""Plots of what was learned: HTML to explore, by plotly, or PNG to show, by matplotlib; both are imported only here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reconfigure_daemon.control_api.learning_messages import ForecastView, ParetoView
from reconfigure_daemon.errors import ReconfigureError, RequestInvalid
from reconfigure_policies.domain.configuration import Configuration

_X, _Y = "saturated throughput, tokens/s", "energy, J per output token"


class PlotsNotInstalled(ReconfigureError):
    """A plot was asked for, and what draws it is missing."""

    kind = "plots_not_installed"
    status = 501

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"drawing needs {missing}, which is not installed; install it with "
            "`pip install 'vllm-reconfigure[plots]'`, or leave the plot out"
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind.

    Attributes:
        name: for the legend.
        x, y: as many of each.
        labels: one for each point, shown when it is pointed at.
        x_range, y_range: `(low, high)` of each point; empty without intervals.
        joined: whether the points make a line.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[str, ...] = ()
    x_range: tuple[tuple[float, float], ...] = ()
    y_range: tuple[tuple[float, float], ...] = ()
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """What is drawn, whoever draws it."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]


def check_drawable(option: str, folder: Path, endings: Sequence[str]) -> None:
    """Find out before anything is asked or measured whether files of these endings can be drawn into a folder.

    Raises:
        RequestInvalid: if the folder is missing or cannot be written.
        PlotsNotInstalled: if a library is missing.
    """
    if not folder.is_dir():
        raise RequestInvalid(f"found {option} into {folder}, which is no folder; make it, or name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestInvalid(f"found {option} into {folder}, which this user cannot write; name another folder")
    for ending in endings:
        library = "plotly" if ending == ".html" else "matplotlib"
        if find_spec(library) is None:
            raise PlotsNotInstalled(library)


def draw_pareto(view: ParetoView, path: Path) -> None:
    """Throughput against energy: what was measured, what is foretold of the front, and what is enforced.

    Raises:
        PlotsNotInstalled: if the library that the file's ending asks for is missing.
        RequestInvalid: if the file cannot be written.
    """
    measured = [(each.measured["throughput_tps"], each.measured["energy_per_output_token_j"]) for each in view.measured]
    labels = tuple(str(Configuration(each.configuration)) for each in view.measured)
    series = [
        Series("measured", tuple(x for x, _ in measured), tuple(y for _, y in measured), labels),
        _forecasts("front, foretold", view.front, joined=True),
    ]
    if view.enforced is not None:
        series.append(_forecasts("enforced now", [view.enforced]))
    draw(Figure("Pareto front", _X, _Y, tuple(series)), path)


def draw(figure: Figure, path: Path) -> None:
    """Draw a figure into a file that ends in .html or .png.

    Raises:
        PlotsNotInstalled: if the library that the ending asks for is missing.
        RequestInvalid: if the file cannot be written.
    """
    try:
        (_draw_html if path.suffix == ".html" else _draw_png)(figure, path)
    except OSError as fault:
        raise RequestInvalid(f"{path} cannot be drawn ({fault.strerror or fault}); name another file") from fault


def _forecasts(name: str, forecasts: Sequence[ForecastView], *, joined: bool = False) -> Series:
    known = [(f.throughput_tps, f.energy_per_output_token_j, f) for f in forecasts]
    points = [(x, y, f) for x, y, f in known if x is not None and y is not None]
    return Series(
        name,
        tuple(x.median for x, _, _ in points),
        tuple(y.median for _, y, _ in points),
        tuple(str(Configuration(f.configuration)) for _, _, f in points),
        tuple((x.low, x.high) for x, _, _ in points),
        tuple((y.low, y.high) for _, y, _ in points),
        joined,
    )


def _draw_html(figure: Figure, path: Path) -> None:
    try:
        import plotly.graph_objects as go
    except ImportError as missing:
        raise PlotsNotInstalled("plotly") from missing
    drawn = go.Figure()
    for series in figure.series:
        mode = "lines+markers" if series.joined else "markers"
        bars = {"error_x": _bars(series.x, series.x_range), "error_y": _bars(series.y, series.y_range)}
        drawn.add_scatter(x=series.x, y=series.y, mode=mode, name=series.name, hovertext=series.labels, **bars)
    drawn.update_layout(title=figure.title, xaxis_title=figure.x, yaxis_title=figure.y, template="plotly_white")
    drawn.write_html(path, include_plotlyjs=True)  # it opens on machines without a network, too


def _bars(values: Sequence[float], ranges: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    if not ranges:
        return None
    above = [high - value for value, (_, high) in zip(values, ranges, strict=True)]
    below = [value - low for value, (low, _) in zip(values, ranges, strict=True)]
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1}


def _draw_png(figure: Figure, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as missing:
        raise PlotsNotInstalled("matplotlib") from missing
    canvas = Canvas(figsize=(8, 5), layout="constrained")
    axes = canvas.add_subplot()
    for series in figure.series:
        style = "o-" if series.joined else "o"
        x_bars, y_bars = (_sides(v, r) for v, r in ((series.x, series.x_range), (series.y, series.y_range)))
        axes.errorbar(series.x, series.y, xerr=x_bars, yerr=y_bars, fmt=style, label=series.name, elinewidth=0.8)
    axes.set(title=figure.title, xlabel=figure.x, ylabel=figure.y)
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(canvas).print_png(path)


def _sides(values: Sequence[float], ranges: Sequence[tuple[float, float]]) -> list[list[float]] | None:
    bars = _bars(values, ranges)
    return None if bars is None else [bars["arrayminus"], bars["array"]]
