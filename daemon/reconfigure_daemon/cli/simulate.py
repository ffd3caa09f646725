"""`reconfigure simulate`: what the daemon would have done, and saved, on a recorded workload. An emulation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from reconfigure_daemon.cli import output
from reconfigure_daemon.cli.options import AsJson
from reconfigure_daemon.cli.replay_options import (
    Limit,
    MaxOutputTokens,
    MaxPromptTokens,
    Sample,
    SkipBad,
    Start,
    positive,
)
from reconfigure_daemon.cli.settings_check import DEFAULT_CONFIG
from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.plan import PlanOptions, ReplayPlan, plan_replay
from reconfigure_daemon.load_generation.trace_reader import TraceReader
from reconfigure_daemon.settings import Settings, load_settings
from reconfigure_daemon.virtual_world.clairvoyant import Hindsight, look_back
from reconfigure_daemon.virtual_world.daemon_day import Day, Orders, live
from reconfigure_daemon.virtual_world.traffic import WindowTraffic, merged, windows_of
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.domain.objective import Objective

DAY_S = 86400.0

#: Forecasting every candidate at each decision takes a tenth of a millisecond for each.
MOST_CANDIDATES = 4000

#: Hindsight tries every candidate on every window; windows are taken together until it is no more than this.
_MOST_TRIES = 80_000

EMULATION = (
    "Emulated, not measured: step times and joules are those of the emulated engine, and forecasts are taken to be as "
    "good as a well-fitted surrogate's. Compare its lines with each other, not with a meter."
)


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A simulation with what it is compared with."""

    day: Day
    hindsight: Hindsight
    span_s: float
    objective: Objective

    @property
    def saved_j(self) -> float:
        """Against the best single configuration."""
        return self.hindsight.single_account.energy_j - self.day.energy_j

    @property
    def savable_j(self) -> float:
        """What a clairvoyant schedule would have saved against it."""
        return self.hindsight.single_account.energy_j - self.hindsight.clairvoyant.energy_j


def simulate(
    trace: Annotated[
        Path,
        typer.Option(
            "--trace",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Azure, Mooncake, ServeGen or BurstGPT trace, plain or .gz.",
        ),
    ],
    config: Annotated[Path, typer.Option(envvar="RECONFIGURE_CONFIG", help="The settings file.")] = DEFAULT_CONFIG,
    objective: Annotated[
        Objective | None, typer.Option("--objective", "-o", help="Instead of start_objective of the settings.")
    ] = None,
    day: Annotated[bool, typer.Option("--day", help="The trace's first day: --limit 24h.")] = False,
    start: Start = 0.0,
    limit: Limit = None,
    sample: Sample = 1.0,
    times: Annotated[
        float, typer.Option(parser=positive, metavar="N", help="Take each recorded request for so many.")
    ] = 1.0,
    max_prompt_tokens: MaxPromptTokens = None,
    max_output_tokens: MaxOutputTokens = None,
    skip_bad: SkipBad = False,
    seed: Annotated[int, typer.Option(help="Of forecast errors and noise; the same seed gives the same day.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the daemon's own decisions over a trace in virtual time: a day in well under a minute. An emulation.

    Space, SLO and guardrails are those of the settings file; the space may have at most 4000 candidates. No daemon and
    no engine is needed.
    """
    if day and limit is not None:
        raise typer.BadParameter("--day is --limit 24h; give one of the two")
    settings = load_settings(config, os.environ)
    options = PlanOptions(
        start_s=start,
        limit_s=DAY_S if day else limit,
        sample=sample,
        max_prompt_tokens=max_prompt_tokens,
        max_output_tokens=max_output_tokens,
    )
    reader = TraceReader(trace, skip_bad=skip_bad)
    plan = plan_replay(reader, options)
    reader.check()
    simulated = _simulated(settings, plan, objective or settings.start_objective, times, seed)
    if as_json:
        output.print_json(_document(simulated))
    else:
        _show(simulated)


def _simulated(settings: Settings, plan: ReplayPlan, objective: Objective, times: float, seed: int) -> _Simulated:
    """The day, and what hindsight says of it.

    Raises:
        RequestInvalid: if the trace has no request there, or the space too many candidates.
    """
    windows = windows_of(plan.requests, times)
    if not windows:
        raise RequestInvalid("found no request in this part of the trace; change --start, --limit or --sample")
    space = settings.configuration_space()
    count = _count(space)
    model = WindowModel(settings.slo.to_domain())
    start = settings.named_configurations().get(objective, space.default())
    orders = Orders(space, model.slo, objective, settings.decision.to_domain(), start)
    lived = live(windows, orders, model, seed)
    coarse, epoch_windows = _coarse(windows, count)
    hindsight = look_back(coarse, space, model, epoch_windows, objective=objective)
    return _Simulated(lived, hindsight, sum(window.duration_s for window in windows), objective)


def _count(space: ConfigurationSpace) -> int:
    count = 0
    for count, _ in enumerate(space.enumerate(), start=1):
        if count > MOST_CANDIDATES:
            raise RequestInvalid(
                f"found more than {MOST_CANDIDATES} candidates in the space; for a simulation keep fewer values of "
                "each knob, best those of max_num_batched_tokens, long_prefill_token_threshold and prefix_cache_reading"
            )
    return count


def _coarse(windows: list[WindowTraffic], candidates: int) -> tuple[list[WindowTraffic], int]:
    """Windows as fine as hindsight can afford, and how many of them make ten minutes at most."""
    together = max(1, -(-len(windows) * candidates // _MOST_TRIES))
    return merged(windows, together), max(1, 10 // together)


def _document(simulated: _Simulated) -> dict[str, Any]:
    day, hindsight = simulated.day, simulated.hindsight
    return {
        "engine": "emulated",
        "note": EMULATION,
        "objective": simulated.objective,
        "span_s": simulated.span_s,
        "requests": day.requests,
        "output_tokens": day.output_tokens,
        "daemon": {
            "energy_j": day.energy_j,
            "slo_attainment": day.attainment,
            "cold_switches": day.cold_switches,
            "decisions": [
                {"at_s": at, "kind": decision.kind, "reason": decision.reason, "target": dict(decision.target)}
                for at, decision in day.decisions
            ],
            "shifts": [{"at_s": shift.at_s, "what": str(shift)} for shift in day.shifts],
        },
        "best_single": {
            "configuration": dict(hindsight.single),
            "energy_j": hindsight.single_account.energy_j,
            "slo_attainment": hindsight.single_account.attainment,
        },
        "clairvoyant": {
            "energy_j": hindsight.clairvoyant.energy_j,
            "slo_attainment": hindsight.clairvoyant.attainment,
            "cold_switches": hindsight.switches,
        },
        "saved_j": simulated.saved_j,
    }


def _show(simulated: _Simulated) -> None:
    from rich.table import Table

    day, hindsight, console = simulated.day, simulated.hindsight, output.console()
    console.print(
        f"{format_duration(simulated.span_s)} with {day.requests:.0f} requests under objective {simulated.objective}"
    )
    console.print(EMULATION)
    for at, decision in day.decisions:
        console.print(f"{_clock(at)}  {decision.reason}")
    table = Table("emulated", "kWh", "J per output token", "SLO met", "cold switches")
    rows = (
        ("the daemon", day.energy_j, day.attainment, str(day.cold_switches)),
        ("best single configuration", hindsight.single_account.energy_j, hindsight.single_account.attainment, "0"),
        (
            "clairvoyant schedule",
            hindsight.clairvoyant.energy_j,
            hindsight.clairvoyant.attainment,
            str(hindsight.switches),
        ),
    )
    for name, energy_j, attainment, switches in rows:
        per_token = f"{energy_j / day.output_tokens:.3g}" if day.output_tokens else ""
        table.add_row(name, f"{energy_j / 3.6e6:.3g}", per_token, f"{attainment:.2%}", switches)
    console.print(table)
    console.print(f"Best single configuration: {hindsight.single}")
    console.print(_saving_words(simulated))


def _saving_words(simulated: _Simulated) -> str:
    share = simulated.saved_j / simulated.hindsight.single_account.energy_j
    if simulated.objective is not Objective.ENERGY:
        return f"Against it the daemon used {-share:+.1%} of the energy; its objective was {simulated.objective}."
    if simulated.savable_j <= 0:
        return f"Against it the daemon saved {share:.1%}; no schedule would have saved anything."
    return (
        f"Against it the daemon saved {share:.1%}, {simulated.saved_j / simulated.savable_j:.0%} of what can be saved."
    )


def _clock(at_s: float) -> str:
    minutes = int(at_s // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{int(at_s % 60):02d}"
