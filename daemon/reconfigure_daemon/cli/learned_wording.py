"""What was learned, in tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from reconfigure_daemon.cli.wording import assignments
from reconfigure_daemon.control_api.learning_messages import (
    EstimateView,
    ExplanationView,
    ForecastView,
    NeighbourView,
    ParetoView,
    QuantityView,
    SurrogateView,
)
from reconfigure_daemon.durations import format_duration
from reconfigure_policies.domain.configuration import KnobValue, format_value
from reconfigure_policies.domain.forecast import WorkloadContext

NAMES = {
    "energy_per_output_token_j": "J per output token",
    "throughput_tps": "tokens/s, saturated",
    "ttft_p99_s": "TTFT p99",
    "tpot_p99_s": "TPOT p99",
}

#: Neighbours that are told; the others differ less.
_NEIGHBOURS_TOLD = 8

#: Ratios nearer to 1 than this are called no difference.
_NO_DIFFERENCE = 0.01


def show_pareto(console: Console, view: ParetoView) -> None:
    """The front as a table, each configuration by what it changes of the one in force."""
    console.print(f"For {workload_words(view.context)}; {view.basis}; {view.candidates} candidates.")
    for warning in view.warnings:
        console.print(f"Not to be trusted: {warning}")
    enforced = {} if view.enforced is None else view.enforced.configuration
    table = Table("", *NAMES.values(), "feasible", "differs from what is enforced", box=None, pad_edge=False)
    for number, forecast in enumerate(view.front, start=1):
        table.add_row(str(number), *_figures(forecast), _differs(forecast.configuration, enforced))
    if view.enforced is not None and all(each.configuration != enforced for each in view.front):
        table.add_row("now", *_figures(view.enforced), "enforced, not on the front")
    console.print(table)
    console.print(f"Energy is {view.energy_source}; intervals hold 95 of 100 outcomes.")


def show_trust(console: Console, view: SurrogateView) -> None:
    """What is foretold now, and why it is not to be trusted where it is not."""
    heading = "Nothing is foretold yet" if not view.fitted else "Trusted" if view.trusted else "Not to be trusted"
    console.print(f"{heading}: {view.basis}.")
    for fault in view.faults:
        console.print(f"  {fault}")


def show_surrogate(console: Console, view: SurrogateView) -> None:
    """Whether to trust it, first; then the figures."""
    show_trust(console, view)
    if not view.fitted:
        return
    failed = f", {view.failed} of them failed" if view.failed else ""
    took = "" if view.duration_s is None else f"; the fit took {format_duration(view.duration_s)}"
    console.print(f"{view.trials} trials{failed}{took}.")
    columns = ("trials", "configurations", "R2", "of at most", "linear R2", "error", "in 95 % interval", "noise")
    table = Table("left out", *columns, box=None, pad_edge=False, header_style="bold")
    for each in view.quantities:
        table.add_row(NAMES.get(each.quantity, each.quantity), *_leave_one_out(each))
    console.print(table)
    if any(each.checked for each in view.quantities):
        console.print(_checks(view.quantities))
    else:
        console.print("No window has come yet that was foretold before; its error will be shown here.")


def explanation_sentences(view: ExplanationView) -> Iterator[str | Table]:
    """Why this configuration and not its neighbours, in the order in which it is read."""
    if view.forecast is None or view.context is None:
        yield f"Of other configurations nothing can be said: {view.basis}."
        return
    yield f"Expected under {workload_words(view.context)} ({view.basis}):"
    yield _forecast_table(view.forecast)
    for warning in view.warnings:
        yield f"Not to be trusted: {warning}"
    told = sorted(view.neighbours, key=_difference, reverse=True)[:_NEIGHBOURS_TOLD]
    if told:
        yield "One knob otherwise (* beyond what the intervals leave open):"
        yield _neighbour_table(told)
    matters = [f"{each.knob} ({_most(each.spread)})" for each in view.influences if _matters(each.spread)]
    yield f"Which settings matter here: {', '.join(matters) or 'none of them by more than 1 %'}."
    yield from _what_would_change(view)


def workload_words(context: WorkloadContext) -> str:
    """A workload as a clause."""
    hits = f", {context.prefix_hit_share:.0%} of it cached" if context.prefix_hit_share >= 0.01 else ""
    return (
        f"{context.arrival_rate_rps:.3g} requests/s of {context.prompt_tokens:.0f} + {context.output_tokens:.0f} "
        f"tokens{hits}"
    )


def estimate_words(quantity: str, estimate: EstimateView | None) -> str:
    """A median with its interval, e.g. `0.236 (0.22 to 0.25)`."""
    if estimate is None:
        return "-"
    figures = [value_words(quantity, value) for value in (estimate.median, estimate.low, estimate.high)]
    return f"{figures[0]} ({figures[1]} to {figures[2]})"


def value_words(quantity: str, value: float) -> str:
    """A value with its unit where the column does not say it."""
    return format_duration(value) if quantity.endswith("_s") else f"{value:.3g}"


def _what_would_change(view: ExplanationView) -> Iterator[str]:
    for rival in view.rivals:
        certainty = "" if rival.is_clear else ", though their intervals overlap"
        worth = "more" if rival.share >= view.min_saving else "less"
        yield (
            f"Best in {NAMES[rival.quantity]}: {assignments(rival.configuration)}, better by {rival.share:.1%}"
            f"{certainty}; that is {worth} than the {view.min_saving:.0%} that a change must bring."
        )
    if not view.rivals:
        yield "No candidate is expected to be better in anything: only another workload or objective would change it."


def _figures(forecast: ForecastView) -> list[str]:
    return [*(estimate_words(name, getattr(forecast, name)) for name in NAMES), f"{forecast.feasibility:.0%}"]


def _forecast_table(forecast: ForecastView) -> Table:
    table = Table("quantity", "expected", box=None, pad_edge=False, header_style="bold")
    for name, words in NAMES.items():
        table.add_row(words, estimate_words(name, getattr(forecast, name)))
    table.add_row("measured here", "once" if forecast.observations == 1 else f"{forecast.observations} times")
    return table


def _neighbour_table(neighbours: Sequence[NeighbourView]) -> Table:
    table = Table("change", *NAMES.values(), box=None, pad_edge=False, header_style="bold")
    for each in neighbours:
        cells = [_ratio(each.ratios.get(name), clear=name in each.clear) for name in NAMES]
        table.add_row(f"{each.knob}={format_value(each.value)}", *cells)
    return table


def _ratio(ratio: float | None, *, clear: bool) -> str:
    if ratio is None:
        return "-"
    mark = "*" if clear else ""
    return "same" if abs(ratio - 1) < _NO_DIFFERENCE else f"{ratio - 1:+.0%}{mark}"


def _difference(neighbour: NeighbourView) -> float:
    return max((abs(ratio - 1) for ratio in neighbour.ratios.values()), default=0.0)


def _matters(spread: Mapping[str, float]) -> bool:
    return max(spread.values(), default=1.0) > 1 + _NO_DIFFERENCE


def _most(spread: Mapping[str, float]) -> str:
    name, ratio = max(spread.items(), key=lambda pair: pair[1])
    return f"{NAMES[name]} x{ratio:.2f}"


def _differs(configuration: Mapping[str, KnobValue], enforced: Mapping[str, KnobValue]) -> str:
    changes = {name: value for name, value in configuration.items() if enforced.get(name) != value}
    return assignments(changes) if changes else "nothing: it is enforced now"


def _leave_one_out(found: QuantityView) -> list[str]:
    return [
        str(found.trials), str(found.configurations), _number(found.r2), _number(found.ceiling_r2),
        _number(found.linear_r2), _share(found.mape), _share(found.coverage), _share(found.noise_relative_sd),
    ]  # fmt: skip


def _checks(quantities: Sequence[QuantityView]) -> Table:
    columns = ("windows", "error", "in 95 % interval", "measured against foretold")
    table = Table("foretold before", *columns, box=None, pad_edge=False, header_style="bold")
    for each in quantities:
        if each.checked:
            drift = "-" if each.checked_bias is None else f"{each.checked_bias:+.1%}"
            name = NAMES.get(each.quantity, each.quantity)
            table.add_row(name, str(each.checked), _share(each.checked_mape), _share(each.checked_coverage), drift)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
