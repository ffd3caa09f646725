"""The closed loop from end to end: measure on purpose, compare what was found, then live through two changes."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon, applied
from benchmarks.harness.replay_rows import loss_rows
from benchmarks.harness.rows import Row, at_least, exactly, interval_rows, shown
from benchmarks.harness.statistics import PairedRatio, paired_ratio
from benchmarks.harness.streams import equal_requests, failures, running_streams
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.control_api.tuning_messages import TriedView, TuningView
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.load_source import HttpLoad
from reconfigure_daemon.load_generation.results import RequestResult
from reconfigure_daemon.metering import build_emulated_meter, build_meter
from reconfigure_daemon.monitoring.partial_window import PartialWindow
from reconfigure_daemon.ports import EnergyMeter
from reconfigure_daemon.private_socket import socket_path
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_daemon.tuning import Measuring, TuneRequest
from reconfigure_daemon.tuning.measuring import Offered
from reconfigure_policies.decision.intents import BY_NAME
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.surrogate import Quantity, Trial

OBJECTIVES = {Quantity.THROUGHPUT: "saturated throughput", Quantity.ENERGY: "joules per output token"}

#: The calendar counts in minutes, and a change may have to boot a core.
CALENDAR_WITHIN_S = 180.0

#: A forecast is for the workload of the last windows, so that some of it has to be seen first.
WINDOWS = {"window_s": 10, "settle_s": 3, "observation_min_requests": 3}
SEEN_AFTER_S = 30.0

NOTHING_CAME = "The calendar changed nothing."

#: What the daemon imports only once it learns and has learned: minutes into the session, which would end there.
IMPORTED_LATE = ("numpy", "scipy", "river")


@dataclass(frozen=True)
class Plan:
    """One machine's closed loop.

    Attributes:
        changes: of the shipped settings.
        model: as `engine.model`.
        request: the session.
        rounds: in which default and front are compared.
        replay_rps: arrivals each second of the replay that lives through the changes.
    """

    changes: Mapping[str, Mapping[str, Any]]
    model: str
    request: TuneRequest
    rounds: int
    replay_rps: float


@dataclass(frozen=True)
class Replayed:
    """What became of the replay, and of the two changes."""

    results: list[RequestResult]
    not_applied: list[str]
    reasons: list[str]


def options(doc: str | None, trials: int, rate_rps: float) -> argparse.ArgumentParser:
    """What every closed loop's command takes, with its own defaults."""
    parser = command.options(doc)
    parser.add_argument("--trials", type=int, default=trials, help=f"of the session (default: {trials})")
    parser.add_argument("--rounds", type=int, default=4, help="in which default and front are compared (default: 4)")
    parser.add_argument("--rate", type=float, default=rate_rps, help=f"arrivals a second (default: {rate_rps:g})")
    return parser


async def closed_loop(plan: Plan, engine: str, console: Console) -> command.Findings:
    """Tune, compare, replay.

    Raises:
        RequestInvalid: at once, if something is missing that would be missed in the middle.
    """
    missing = [name for name in IMPORTED_LATE if find_spec(name) is None]
    if missing:
        raise RequestInvalid(f"there is no {', '.join(missing)} here, without which nothing is learned; `make setup`")
    async with Daemon(engine, plan.model, plan.changes) as daemon:
        session = await tune(daemon, plan.request, console)
        compared = await compare(daemon, engine, session, plan, console)
        replayed = await replay(daemon, plan, console)
        surrogate = await daemon.ask("GET", "/v1/surrogate")
        front = await daemon.ask("GET", "/v1/pareto")
    ratios = {quantity: ratio_of(compared, quantity) for quantity in OBJECTIVES}
    beaten = [quantity for quantity, ratio in ratios.items() if is_better(quantity, ratio)]
    rows = [
        *session_rows(session, plan.request.trials),
        at_least("objectives in which the front beats the default in every pair", len(beaten), 1),
        *(row for quantity, ratio in ratios.items() for row in ratio_rows(quantity, ratio)),
        exactly("changes of objective and calendar that were not applied", len(replayed.not_applied), 0),
        exactly("of these two, decided by what was learned", by_learning(replayed.reasons), 2),
        *loss_rows(replayed.results),
    ]
    notes = [
        f"{plan.request.arrival_rate_rps:g} requests/s of {plan.request.lengths[0]} tokens; energy "
        f"{front['energy_source']}.",
        f"Default and front were measured again, {plan.rounds} times in turn, by the session's own trial.",
        *replayed.reasons,
    ]
    details = {
        "session": session.model_dump(mode="json"),
        "compared": {name: [measured_of(trial) for trial in trials] for name, trials in compared.items()},
        "surrogate": surrogate,
        "front": front["front"],
        "failures": failures(replayed.results) + replayed.not_applied,
    }
    return command.Findings(rows, notes, details)


async def tune(daemon: Daemon, request: TuneRequest, console: Console) -> TuningView:
    """A session from start to end, as `reconfigure tune` runs it."""
    await daemon.ask("POST", "/v1/tune", request.model_dump(mode="json"))
    told = 0
    while True:
        view = TuningView.model_validate(await daemon.ask("GET", "/v1/tune"))
        for trial in view.trials[told:]:
            figures = {name: round(value, 4) for name, value in trial.measured.measured.items()}
            console.print(f"  trial {trial.number} ({trial.by}) {trial.measured.configuration}: {figures}")
        told = len(view.trials)
        if view.state != "running":
            console.print(f"{view.state}: {view.outcome}")
            return view
        await asyncio.sleep(1.0)


async def compare(
    daemon: Daemon, engine: str, session: TuningView, plan: Plan, console: Console
) -> dict[str, list[Trial]]:
    """Default, and the front's best in each objective, measured again in turn."""
    configurations = {"default": session.restore}
    for quantity, name in OBJECTIVES.items():
        best = best_of(session.trials, quantity)
        if best is not None:
            configurations[name] = best.measured.configuration
    client = PrivateSocketClient(socket_path(daemon.runtime))
    meter = meter_of(engine, client)
    measuring = Measuring(meter, HttpLoad(lambda: ""), PartialWindow, SystemClock())
    offered = Offered(session.context, plan.request.lengths, plan.request, ServiceLevelObjective())
    found: dict[str, list[Trial]] = {name: [] for name in configurations}
    try:
        for number in range(plan.rounds):
            # There in one round and back in the next: fewer boots, and drift evens out.
            there = list(enumerate(configurations.items()))
            for place, (name, configuration) in reversed(there) if number % 2 else there:
                await daemon.move_to(configuration)
                seed = 1_000_000 + 10 * number + place
                trial = await measuring.trial(client, Configuration(configuration), offered, seed)
                found[name].append(trial)
                console.print(f"  round {number + 1} {name}: {measured_of(trial)}")
        await daemon.move_to(session.restore)
    finally:
        await client.close()
        meter.close()
    return found


async def replay(daemon: Daemon, plan: Plan, console: Console) -> Replayed:
    """Streams that live through an objective's change, and through one that the calendar brings."""
    lasting_s = SEEN_AFTER_S + CALENDAR_WITHIN_S + 30.0
    prompt, output = plan.request.lengths[0]
    requests = equal_requests(int(lasting_s * plan.replay_rps), prompt, output, 1 / plan.replay_rps)
    bad: list[str] = []
    reasons: list[str] = []
    async with running_streams(requests, await daemon.target(seed=7), to_the_end=True) as streams:
        await asyncio.sleep(SEEN_AFTER_S)
        result = await daemon.intend({"kind": "objective", "objective": "energy"})
        if not applied(result):
            bad.append(f"objective energy: {result.decision and result.decision.outcome}")
        if result.decision is not None:
            reasons.append(f"Asked for energy: {result.decision.reason}")
        console.print(reasons[-1] if reasons else "nothing was decided")
        bad += await by_calendar(daemon, reasons)
        console.print(reasons[-1])
    return Replayed(streams.results, bad, reasons)


async def by_calendar(daemon: Daemon, reasons: list[str]) -> list[str]:
    """Have the calendar want throughput from the next minute on; why that did not happen, empty if it did."""
    at = datetime.now(UTC) + timedelta(seconds=75)
    line = {"cron": f"{at.minute} {at.hour} * * *", "objective": "throughput", "lasts": "1h"}
    await daemon.reload({"schedules": {"changed_over": line}})
    until_s = time.monotonic() + CALENDAR_WITHIN_S
    while time.monotonic() < until_s:
        status = await daemon.status()
        decision = status.last_decision
        ended = decision is not None and (decision.outcome is not None or decision.kind == "keep")
        if status.objective == "throughput" and status.action is None and ended:
            assert decision is not None
            reasons.append(f"By the calendar: {decision.reason}")
            failed = decision.outcome is not None and decision.outcome.kind != "applied"
            return [f"calendar: {decision.outcome}"] if failed else []
        await asyncio.sleep(1.0)
    reasons.append(NOTHING_CAME)
    return ["the calendar's change did not come"]


def by_learning(reasons: Sequence[str]) -> int:
    """How many decisions there were that did not fall back on a name in the settings."""
    return sum(BY_NAME not in reason for reason in reasons if reason != NOTHING_CAME)


def meter_of(engine: str, client: PrivateSocketClient) -> EnergyMeter:
    """Joules where they are counted; elsewhere the estimate that the daemon makes, too."""
    if engine == "emulated":
        return build_emulated_meter(client.path)
    return build_meter(MeteringSettings(), lambda: 1.0)


def best_of(trials: Sequence[TriedView], quantity: Quantity) -> TriedView | None:
    """The trial of the front that is best in one objective."""
    front = [trial for trial in trials if trial.on_front]
    sign = 1.0 if quantity.is_maximised else -1.0
    return max(front, key=lambda trial: sign * trial.measured.measured[quantity.value], default=None)


def ratio_of(compared: Mapping[str, Sequence[Trial]], quantity: Quantity) -> PairedRatio | None:
    """The front's best in an objective over the default, round by round; None where one of them was not measured."""
    ours = [trial.measured.get(quantity) for trial in compared.get(OBJECTIVES[quantity], ())]
    theirs = [trial.measured.get(quantity) for trial in compared["default"]]
    pairs = [(one.value, other.value) for one, other in zip(ours, theirs, strict=False) if one and other]
    return paired_ratio([one for one, _ in pairs], [other for _, other in pairs]) if pairs else None


def is_better(quantity: Quantity, ratio: PairedRatio | None) -> bool:
    """Whether the whole interval of the ratio is on the better side of 1; of few pairs, every pair."""
    if ratio is None:
        return False
    return ratio.low > 1 if quantity.is_maximised else ratio.high < 1


def session_rows(session: TuningView, wanted: int) -> list[Row]:
    """That the session did what it was asked for."""
    failed = sum(not trial.measured.feasible for trial in session.trials)
    lasted_s = None if session.ended_at is None else session.ended_at - session.started_at
    return [
        exactly("trials measured", len(session.trials), wanted),
        shown("configurations that do not work", failed),
        shown("the session lasted", lasted_s, "s"),
        shown("configurations on the front", sum(trial.on_front for trial in session.trials)),
    ]


def ratio_rows(quantity: Quantity, ratio: PairedRatio | None) -> list[Row]:
    """The ratio with its interval."""
    what = f"{OBJECTIVES[quantity]}, front / default"
    if ratio is None:
        return [shown(f"{what}, median", None)]
    return [shown(f"{what}, median of {ratio.pairs}", ratio.median), *interval_rows(ratio, what)]


def measured_of(trial: Trial) -> dict[str, float]:
    """What was measured, by name."""
    return {quantity.value: round(each.value, 5) for quantity, each in trial.measured.items()}
