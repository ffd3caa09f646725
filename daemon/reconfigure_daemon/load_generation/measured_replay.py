"""A replay with the energy it took: what the command line and the benchmarks run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconfigure_daemon.load_generation.energy import Controller, account_energy, read_energy
from reconfigure_daemon.load_generation.open_loop import ReplayProgress, replay_trace
from reconfigure_daemon.load_generation.plan import ReplayPlan
from reconfigure_daemon.load_generation.report import ReplayReport, report_of
from reconfigure_daemon.load_generation.results import ReplayRun
from reconfigure_daemon.load_generation.target import Target
from reconfigure_policies.domain.objective import ServiceLevelObjective


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """What a report says of its own making.

    Attributes:
        trace: which trace, in which format, and what the plan changed of it.
        arguments: as given, so that the replay can be repeated.
        server_version: the server's own word, None if it has none.
    """

    trace: Mapping[str, Any]
    arguments: Mapping[str, Any]
    server_version: str | None


async def measured_replay(
    plan: ReplayPlan,
    target: Target,
    slo: ServiceLevelObjective,
    controller: Controller,
    context: ReplayContext,
    *,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> tuple[ReplayRun, ReplayReport]:
    """Replay a plan between two readings of the controller's energy counter, and sum it up.

    Args:
        plan: from `plan_replay`.
        target: the server.
        slo: what counts as good.
        controller: whose energy counter is read; without an answer there the report has no energy, and says why.
        context: copied into the report.
        on_progress: see `replay_trace`.
        stop: see `replay_trace`.
    """
    before = await read_energy(controller)
    run = await replay_trace(plan.requests, target, on_progress=on_progress, stop=stop)
    after = await read_energy(controller)
    energy = account_energy(before, after, sum(result.output_tokens for result in run.results))
    report = report_of(
        run, slo, energy, trace=context.trace, arguments=context.arguments, server_version=context.server_version
    )
    return run, report
