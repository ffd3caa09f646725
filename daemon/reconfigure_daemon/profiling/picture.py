"""A profile as a picture: one bar for each device, cut by what its time went into, and what took longest below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.ports import DeviceProfile
from reconfigure_daemon.profiling.kinds import Kind

#: Distinct to colour-blind eyes (Okabe and Ito 2008); idle is the paper's own shade.
COLOURS = {
    Kind.GEMM: "#0072B2",
    Kind.ATTENTION: "#E69F00",
    Kind.COLLECTIVE: "#CC79A7",
    Kind.OTHER: "#009E73",
    Kind.COPY: "#56B4E9",
    Kind.IDLE: "#D9D9D9",
}
_LONGEST_LABEL = 60


def drawer(path: Path) -> Callable[[Sequence[DeviceProfile], str], None]:
    """What draws a profile under a title into a file of this name; known before anything is recorded.

    Raises:
        RequestInvalid: if the name ends in something else, its folder is missing, or what draws it is not installed.
    """
    draw = {".html": _draw_html, ".png": _draw_png}.get(path.suffix.lower())
    if draw is None:
        raise RequestInvalid(f"found --plot {path}; a name that ends in .html or .png is allowed")
    if not path.absolute().parent.is_dir():
        raise RequestInvalid(f"found --plot {path}, and there is no folder {path.absolute().parent}; make it first")
    try:
        __import__("plotly" if draw is _draw_html else "matplotlib")
    except ImportError as missing:
        raise RequestInvalid(
            f"--plot {path} needs {missing.name}, which is not installed; `pip install 'vllm-reconfigure[plots]'`"
        ) from missing
    return lambda devices, title: draw(path, devices, title)


def _draw_html(path: Path, devices: Sequence[DeviceProfile], title: str) -> None:
    """With plotly, in one file that needs no network."""
    from plotly.graph_objects import Bar, Figure
    from plotly.subplots import make_subplots

    figure: Figure = make_subplots(rows=2, cols=1, row_heights=[0.4, 0.6], subplot_titles=[title, "What took longest"])
    for kind in Kind:
        percent = [100 * device.share(kind.value) for device in devices]
        figure.add_trace(
            Bar(
                name=kind.value, y=[device.device for device in devices], x=percent, orientation="h",
                marker_color=COLOURS[kind], hovertemplate="%{y}: " + kind.value + " %{x:.1f} %<extra></extra>",
            ),
            row=1, col=1,
        )  # fmt: skip
    top = devices[0].top[::-1]
    figure.add_trace(
        Bar(
            y=[_label(one.name) for one in top], x=[one.seconds * 1e3 for one in top], orientation="h",
            marker_color=[COLOURS[Kind(one.kind)] for one in top], showlegend=False,
            hovertemplate="%{x:.1f} ms<extra></extra>",
        ),
        row=2, col=1,
    )  # fmt: skip
    figure.update_layout(barmode="stack", height=220 + 60 * len(devices) + 380, template="plotly_white")
    figure.update_xaxes(title_text="% of the time", range=[0, 100], row=1, col=1)
    figure.update_xaxes(title_text=f"ms on {devices[0].device}", row=2, col=1)
    figure.write_html(path, include_plotlyjs=True)


def _draw_png(path: Path, devices: Sequence[DeviceProfile], title: str) -> None:
    """With matplotlib, without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5 + 0.5 * len(devices)), layout="constrained")
    FigureCanvasAgg(figure)
    shares, longest = figure.subplots(2, 1, height_ratios=[0.6 + 0.4 * len(devices), 4])
    left = [0.0] * len(devices)
    for kind in Kind:
        percent = [100 * device.share(kind.value) for device in devices]
        shares.barh([device.device for device in devices], percent, left=left, color=COLOURS[kind], label=kind.value)
        left = [a + b for a, b in zip(left, percent, strict=True)]
    shares.set(title=title, xlabel="% of the time", xlim=(0, 100))
    shares.legend(ncols=len(Kind), loc="upper center", bbox_to_anchor=(0.5, -0.6), frameon=False)
    top = devices[0].top[::-1]
    names = [f"{number}. {_label(one.name)}" for number, one in zip(range(len(top), 0, -1), top, strict=True)]
    longest.barh(names, [one.seconds * 1e3 for one in top], color=[COLOURS[Kind(one.kind)] for one in top])
    longest.set(xlabel=f"ms on {devices[0].device}")
    longest.tick_params(axis="y", labelsize="small")
    figure.savefig(path, dpi=120)


def _label(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
