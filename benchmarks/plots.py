"""Pictures of committed results, for who would rather look than read: `python -m benchmarks.plots [NAME ...]`.

Each is written to docs/images/NAME.png and stands above its table in docs/reference/figures.md. What was measured on
what, when, and by which code is written into the picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import IMAGES, circumstances, load
from benchmarks.harness.result import RESULTS

Axes = Any  # matplotlib's; its stubs are not installed
Draw = Callable[[Axes, Axes, Mapping[str, Any]], None]

#: Colour-blind safe (Okabe and Ito): stock, and what is compared with it.
STOCK_COLOUR, COLOURS = "#555555", ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw all, or those that are named; the exit code is 0 unless a name is unknown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLOTS)} (default: all)")
    names = parser.parse_args(argv).names or list(PLOTS)
    if unknown := sorted(set(names) - set(PLOTS)):
        parser.error(f"no picture is drawn of {', '.join(unknown)}; there are {', '.join(PLOTS)}")
    results = load(RESULTS)
    for name in names:
        if name in results:
            print(picture(results[name], IMAGES / f"{name}.png"))
    return 0


def picture(result: Mapping[str, Any], path: Path) -> Path:
    """Draw a result; returns where it lies."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    PLOTS[result["name"]](left, right, result)
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    figure.suptitle(circumstances(result) + driver(result), fontsize=8, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def driver(result: Mapping[str, Any]) -> str:
    """The GPU's driver, as the end of a sentence; nothing without a GPU."""
    return "".join(f", driver {gpu['driver']}" for gpu in result["machine"]["gpus"][:1])


def draw_trace(left: Axes, right: Axes, result: Mapping[str, Any]) -> None:
    """Joules per output token of every slice, and how close time per token comes to its limit."""
    slices = result["details"]["slices"]
    limits = sorted({s["tpot_limit_s"] for s in slices if s["tpot_limit_s"] is not None}, reverse=True)
    for limit_s, colour in [(None, STOCK_COLOUR), *zip(limits, COLOURS, strict=False)]:
        of_arm = [s for s in slices if s["tpot_limit_s"] == limit_s]
        label = "stock vLLM" if limit_s is None else f"governed, TPOT within {1000 * limit_s:.0f} ms"
        rounds = [s["round"] + 1 for s in of_arm]
        left.plot(rounds, [s["joules_per_token"] for s in of_arm], "o-", color=colour, label=label)
        right.plot(rounds, [1000 * s["seen"]["tpot_p99_s"] for s in of_arm], "o-", color=colour)
        if limit_s is not None:
            right.axhline(1000 * limit_s, color=colour, linestyle=":")
    left.set(xlabel="round", ylabel="joules per output token", xticks=sorted({s["round"] + 1 for s in slices}))
    right.set(xlabel="round", ylabel="TPOT, p99 (ms); dotted: its limit", xticks=left.get_xticks())
    left.legend(frameon=False, fontsize=8)


def draw_pacing(left: Axes, right: Axes, result: Mapping[str, Any]) -> None:
    """Joules and latencies by pace."""
    stretches = sorted(result["details"]["stretches"], key=lambda s: float(s["pacing_interval_s"]))
    paces_ms = [1000 * s["pacing_interval_s"] for s in stretches]
    joules = [s["energy_j"] / max(s["seen"]["output_tokens"], 1) for s in stretches]
    left.plot(paces_ms, joules, "o-", color=COLOURS[0])
    left.set(xlabel="pacing interval (ms)", ylabel="joules per output token")
    for what, words, colour in (("tpot_p99_s", "TPOT, p99", COLOURS[0]), ("ttft_p50_s", "TTFT, p50", COLOURS[1])):
        right.plot(paces_ms, [1000 * s["seen"][what] for s in stretches], "o-", color=colour, label=words)
    right.set(xlabel="pacing interval (ms)", ylabel="ms")
    right.legend(frameon=False, fontsize=8)


#: By the name of the result.
PLOTS: Mapping[str, Draw] = {
    "gpu.trace": draw_trace,
    "gpu.trace_fp8": draw_trace,
    "gpu.trace_code": draw_trace,
    "gpu.trace_code_fp8": draw_trace,
    "gpu.pacing": draw_pacing,
}


if __name__ == "__main__":
    sys.exit(main())
