"""Plans, decisions and outcomes in words: what, from what to what, what it cost, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from reconfigure_daemon.cli.output import clock_time
from reconfigure_daemon.control_api.messages import DecisionView, KnobChange, OutcomeView, PlanView
from reconfigure_daemon.durations import format_duration
from reconfigure_policies.domain.configuration import KnobValue, format_value
from reconfigure_policies.domain.decision import OutcomeKind

_OUTCOMES = {
    OutcomeKind.APPLIED: "applied",
    OutcomeKind.ROLLED_BACK: "rolled back, and the old configuration serves on",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.UNKNOWN: "unknown, and read back from the engine before anything else is tried",
}


def changes_table(changes: Sequence[KnobChange]) -> Table:
    """Each knob from what to what, and whether the running engine takes it or a new core is needed."""
    table = Table("knob", "from", "to", "how", box=None, pad_edge=False, header_style="bold")
    for change in sorted(changes, key=lambda change: change.tier, reverse=True):
        how = "hot: inside the running engine" if change.tier == "hot" else "cold: in a new core"
        before = "-" if change.before is None else format_value(change.before)
        table.add_row(change.name, before, format_value(change.after), how)
    return table


def show_plan(console: Console, plan: PlanView | None) -> None:
    """What a change would do, and what it would cost; some requests need no plan."""
    if plan is None:
        console.print("There is no plan for this: nothing in the engine changes.")
        return
    if plan.changes:
        console.print(changes_table(plan.changes))
    for sentence in plan_sentences(plan):
        console.print(sentence)


def plan_sentences(plan: PlanView) -> list[str]:
    """What a change would do and cost, and how that is known."""
    return [*plan.sentences, *(_cost(plan) if plan.mode is not None else [])]


def _cost(plan: PlanView) -> Iterator[str]:
    costs = []
    if plan.expected_duration_s is not None:
        costs.append(f"{format_duration(plan.expected_duration_s)} until it serves")
    if plan.expected_stall_s is not None:
        costs.append(f"a pause of {format_duration(plan.expected_stall_s)} in each stream")
    if plan.expected_energy_j is not None:
        costs.append(f"{plan.expected_energy_j:.0f} J")
    if costs:
        yield f"Expected cost: {', '.join(costs)} ({plan.basis})."
    else:
        yield f"Expected cost: not known ({plan.basis})."


def decision_headline(decision: DecisionView) -> str:
    """Which decision, when, by whom, and how it ended."""
    outcome = decision.outcome.kind.value.replace("_", " ") if decision.outcome else "no outcome yet"
    if decision.outcome is None and decision.kind == "keep":
        outcome = "nothing to do"
    asked = f"at {clock_time(decision.at)}, asked by {decision.source}"
    return f"Decision {decision.id} {asked}: {decision.kind} ({outcome})"


def show_decision(console: Console, decision: DecisionView, *, with_changes: bool) -> None:
    """A decision as a short account: what, from what to what, why, and what then happened."""
    console.print(decision_headline(decision))
    if with_changes and decision.changes:
        console.print(changes_table(decision.changes))
    console.print(f"Why: {decision.reason}")
    for sentence in outcome_sentences(decision.outcome) if decision.outcome else []:
        console.print(sentence)


def decisions_table(decisions: Sequence[DecisionView]) -> Table:
    """Decisions, one a row, as they come."""
    table = Table("no.", "at", "asked by", "decision", "changes", "outcome", "why", box=None, pad_edge=False)
    for decision in decisions:
        changes = assignments({change.name: change.after for change in decision.changes}) or "-"
        outcome = decision.outcome.kind.value.replace("_", " ") if decision.outcome else "-"
        at = clock_time(decision.at)
        table.add_row(str(decision.id), at, decision.source, decision.kind, changes, outcome, decision.reason)
    return table


def outcome_sentences(outcome: OutcomeView) -> list[str]:
    """How a decision ended, what it cost, and what the engine enforces now, read back from it."""
    ended = f"Outcome after {format_duration(outcome.duration_s)}: {_OUTCOMES[outcome.kind]}. {outcome.detail}"
    sentences = [ended.strip()]
    if outcome.measurements:
        sentences.append(f"Measured: {', '.join(measurements(outcome.measurements))}.")
    sentences.append(
        "Enforced now: could not be read back from the engine."
        if outcome.enforced is None
        else f"Enforced now, read back from the engine: {assignments(outcome.enforced)}."
    )
    return sentences


def measurements(measured: Mapping[str, float]) -> list[str]:
    """What was measured of a change; joules that no counter told are said to be estimated."""
    estimated = " (estimated)" if measured.get("energy_estimated") else ""
    return [
        measurement(name, value) + (estimated if name == "energy_j" else "")
        for name, value in measured.items()
        if name != "energy_estimated"
    ]


def measurement(name: str, value: float) -> str:
    """A measured number with its unit, which its name ends with: `stall_p95_s` is `stall p95 60ms`."""
    words = name.replace("_", " ")
    if name.endswith("_s"):
        return f"{words.removesuffix(' s')} {format_duration(value)}"
    if name.endswith("_j"):
        return f"{words.removesuffix(' j')} {value:.4g} J"
    return f"{words} {value:g}"


def assignments(values: Mapping[str, KnobValue]) -> str:
    """A configuration as `apply` takes it."""
    return " ".join(f"{name}={format_value(value)}" for name, value in values.items())
