"""Writes the committed figures where readers find them: `python -m benchmarks.readme`.

README.md gets the handful that an operator asks for first, between its two markers, and docs/reference/figures.md
everything that has a target. No figure enters either by hand; a unit test fails while they and the results disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.figures import (
    VERDICTS,
    command_line,
    found_in_words,
    load,
    measured_on,
    page,
    short_command_of,
    target_in_words,
)
from benchmarks.harness.machine import PROJECT
from benchmarks.harness.result import RESULTS

README = PROJECT / "README.md"
FIGURES = PROJECT / "docs" / "reference" / "figures.md"
BEGIN = "<!-- figures: written by `python -m benchmarks.readme` -->"
END = "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure of the README's table.

    Attributes:
        what: in an operator's words.
        result: the name of the result that has it.
        row: how that row's `what` begins.
    """

    what: str
    result: str
    row: str


HEADLINES = (
    Headline(
        "Joules per output token, governed over stock vLLM, recorded conversations, TPOT within 200 ms",
        "gpu.trace",
        "azure_2023_conv, TPOT 200 ms: joules per output token, governed / stock",
    ),
    Headline("The same, TPOT within 50 ms", "gpu.trace",
             "azure_2023_conv, TPOT 50 ms: joules per output token, governed / stock"),
    Headline("Where the energy objective may use fp8, TPOT within 200 ms", "gpu.trace_fp8",
             "azure_2023_conv, TPOT 200 ms: joules per output token, governed / stock"),
    Headline("Where it may, TPOT within 50 ms", "gpu.trace_fp8",
             "azure_2023_conv, TPOT 50 ms: joules per output token, governed / stock"),
    Headline("The same with recorded code, prompts of 2,000 tokens in bursts, TPOT within 50 ms", "gpu.trace_code_fp8",
             "azure_2023_code, TPOT 50 ms: joules per output token, governed / stock"),
    Headline("Requests of that code service in time, where stock vLLM has 0.7", "gpu.trace_code_fp8",
             "azure_2023_code, TPOT 50 ms: SLO attainment of"),
    Headline("Time to first token, median, governed over stock, TPOT within 50 ms", "gpu.trace",
             "azure_2023_conv, TPOT 50 ms: TTFT p50, governed / stock"),
    Headline("One load that swings tenfold in minutes, on one GPU or two as it asks for, over stock on both: joules "
             "per output token", "gpu.parallel_swing_dp2", "joules per output token, daemon / stock"),
    Headline("Requests of it in time", "gpu.parallel_swing_dp2", "SLO attainment of"),
    Headline("Ten times the load within a second while paced: TTFT p99, governed over stock", "gpu.burst",
             "TTFT p99 during a burst of 10 times, governed / stock"),
    Headline("Output tokens/s of a full engine over stock, where the throughput objective may use fp8",
             "gpu.saturated_fp8",
             "saturated throughput, daemon / stock"),
    Headline("Joules per output token, foretold for unseen windows: error", "gpu.step_cost",
             "energy: mean absolute error of unseen windows"),
    Headline("Joules per output token, best of a `tune` session over the default configuration", "closed_loop_h200",
             "joules per output token, front / default, median"),
    Headline("Throughput of configurations never tried, foretold in another session: error", "surrogate_h200",
             "saturated throughput: mean absolute error"),
    Headline("Joules per output token of the same: error", "surrogate_h200",
             "energy per output token: mean absolute error"),
    Headline("What forty trials find of the exhaustive front, mean over seeds", "optimisers", "ours: mean share"),
    Headline("A day in virtual time: share of a clairvoyant schedule's saving", "virtual_day",
             "share of the clairvoyant schedule's saving"),
    Headline("Loads that swing tenfold in 30 minutes, the hardest of four lengths, in virtual time: requests in time",
             "virtual_swings", "swings of 30 min: requests inside the SLO, mean"),
    Headline("Requests lost in a replay with 50 switches", "switching", "requests lost in the switched replay"),
    Headline("A switch under 64 live streams: pause of a stream, p95 of the worst", "gpu.switch",
             "64 live streams, overlapped: stall p95, worst switch"),
    Headline("The same under 256", "gpu.switch", "256 live streams, overlapped: stall p95, worst switch"),
    Headline("What a switch takes beyond serving, on one GPU at 2.5 requests/s", "gpu.switch_energy",
             "half of the pace: joules of a switch beyond serving"),
    Headline("From four GPUs to one under 64, p95", "gpu.parallel_switch",
             "TP=4 to TP=1, overlapped, 64 live streams: stall p95, worst switch"),
    Headline("The same under 8, without a GPU, p95", "switching", "cut-over stall, overlapped, 8 live streams, p95"),
    Headline("Controller killed under load: requests affected", "kills",
             "kill -9 of the controller: requests affected"),
    Headline("EngineCore killed under live streams: streams that came through", "kills",
             "kill -9 of the EngineCore: streams completed"),
    Headline("Throughput, engine host over plain vLLM", "overhead", "output throughput, engine host over plain vLLM"),
    Headline("Time to first token, engine host over plain vLLM", "overhead", "TTFT p50, engine host over plain vLLM"),
    Headline("Controller at rest: share of a core", "footprint", "controller at rest: share of a core"),
    Headline("Controller at rest: resident memory", "footprint", "controller at rest: resident memory"),
)  # fmt: skip


def main() -> int:
    """Bring both pages up to date; the exit code is 0."""
    results = load(RESULTS)
    readme = README.read_text(encoding="utf-8")
    README.write_text(with_figures(readme, headlines(results)), encoding="utf-8")
    FIGURES.write_text(page(results), encoding="utf-8")
    return 0


def with_figures(readme: str, found: str) -> str:
    """The text with what stands between its markers replaced.

    Raises:
        ValueError: if a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines {BEGIN!r} and {END!r}, in this order")
    return f"{before}{BEGIN}\n{found}\n{END}{after}"


def headlines(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The README's table; what no result has yet is said to be so."""
    return "\n".join(
        [
            "| what | found | must reach | met | measured on | with |",
            "|---|---:|---|---|---|---|",
            *(f"| {each.what} | {' | '.join(_cells(each, results.get(each.result)))} |" for each in HEADLINES),
        ]
    )


def _cells(headline: Headline, result: Mapping[str, Any] | None) -> Iterator[str]:
    """What stands behind a headline; machine, date and command belong to the figure."""
    row = None if result is None else row_of(headline, result)
    if result is None or row is None:
        yield from ("not measured yet", "", "", "")
    else:
        yield found_in_words(row)
        yield target_in_words(row) if row["target"] else ""
        yield "" if row["met"] is None else VERDICTS[row["met"]]
        yield f"{measured_on(result)}, {result['date'][:10]}"
    yield f"`{command_line(headline.result) if result is None else short_command_of(result)}`"


def row_of(headline: Headline, result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row that a headline quotes; None if the result has none that begins so."""
    return next((row for row in result["rows"] if row["what"].startswith(headline.row)), None)


if __name__ == "__main__":
    raise SystemExit(main())
