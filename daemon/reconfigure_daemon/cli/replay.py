"""`reconfigure replay`: send a recorded workload to an OpenAI server and report how it was served."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from reconfigure_daemon.cli import output
from reconfigure_daemon.cli.addresses import address
from reconfigure_daemon.cli.control_api_client import DEFAULT_URL, read_token
from reconfigure_daemon.cli.options import AsJson, TokenFile
from reconfigure_daemon.cli.replay_options import (
    ApiKey,
    ControllerUrl,
    DryRun,
    Limit,
    MaxOutputTokens,
    MaxPromptTokens,
    Model,
    Report,
    Requests,
    Sample,
    ScaleTokens,
    Seed,
    ServerUrl,
    SkipBad,
    SloE2e,
    SloTpot,
    SloTtft,
    Speed,
    Start,
    Temperature,
    Timeout,
    TokensOut,
    Trace,
    VocabSize,
)
from reconfigure_daemon.cli.replay_progress import shown_progress
from reconfigure_daemon.cli.replay_table import plan_sentences, plan_summary, print_report
from reconfigure_daemon.errors import ReconfigureError, RequestInvalid
from reconfigure_daemon.load_generation.energy import Controller
from reconfigure_daemon.load_generation.event_loop import run_on_fast_loop
from reconfigure_daemon.load_generation.measured_replay import ReplayContext, measured_replay
from reconfigure_daemon.load_generation.open_loop import ReplayProgress
from reconfigure_daemon.load_generation.outputs import write_outputs
from reconfigure_daemon.load_generation.plan import PlanOptions, ReplayPlan, plan_replay
from reconfigure_daemon.load_generation.report import ReplayReport
from reconfigure_daemon.load_generation.results import ReplayRun
from reconfigure_daemon.load_generation.target import SAFE_VOCAB_SIZE, ServedModel, Target, ask_served_model
from reconfigure_daemon.load_generation.trace_reader import TraceReader
from reconfigure_policies.domain.objective import ServiceLevelObjective


class ReportUnwritable(ReconfigureError):
    """A file that the replay was to leave behind could not be written."""

    kind = "report_unwritable"


def server_root(url: str) -> str:
    """A server's address without the `/v1` that OpenAI clients are given with it.

    Raises:
        RequestInvalid: if it is none.
    """
    address(url, "http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/v1")


def replay(
    context: typer.Context,
    trace: Trace,
    url: ServerUrl = "http://127.0.0.1:8000",
    controller: ControllerUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    speed: Speed = 1.0,
    limit: Limit = None,
    start: Start = 0.0,
    requests: Requests = None,
    sample: Sample = 1.0,
    scale_tokens: ScaleTokens = 1.0,
    max_prompt_tokens: MaxPromptTokens = None,
    max_output_tokens: MaxOutputTokens = None,
    model: Model = None,
    vocab_size: VocabSize = SAFE_VOCAB_SIZE,
    seed: Seed = 0,
    temperature: Temperature = 0.0,
    slo_ttft: SloTtft = 1.0,
    slo_tpot: SloTpot = 0.05,
    slo_e2e: SloE2e = None,
    timeout: Timeout = 600.0,
    skip_bad: SkipBad = False,
    report: Report = None,
    tokens_out: TokensOut = None,
    api_key: ApiKey = "",
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Send a recorded workload to an OpenAI server, open loop: requests leave when due, answered or not.

    Prompts have the recorded length, in random tokens; prefixes that the trace shares stay shared. Output lengths are
    forced. Exit code 0 if every request completed, 1 if not (lost, broken, truncated, refused, timed out or
    interrupted), 2 for a usage error or a trace that cannot be read.
    """
    console = output.side_console()
    options = PlanOptions(
        speed, start, limit, requests, sample, scale_tokens, max_prompt_tokens, max_output_tokens, seed
    )
    slo = ServiceLevelObjective(slo_ttft, slo_tpot, slo_e2e)
    try:
        reader, plan = _plan(trace, options, skip_bad)
        if dry_run:
            _show_plan(plan, as_json)
            return
        served = asyncio.run(ask_served_model(server_root(url), model, api_key))
        target = Target(
            server_root(url), served.name, vocab_size, seed, temperature, timeout, tokens_out is not None, api_key
        )
        _announce(console, plan, reader, served)
        meter = Controller(controller.rstrip("/"), read_token(token_file) or "")
        about = ReplayContext(_about_trace(plan, reader), _arguments(context), served.server_version)
        with shown_progress(console) as on_progress:
            run, summary = run_on_fast_loop(_replay(plan, target, slo, meter, about, on_progress))
        _show_report(summary, as_json)
        _write(run, summary, report, tokens_out)
    except ReconfigureError as fault:
        # A report that could not be written was printed already, and standard output is to hold one document only.
        raise typer.Exit(output.report(fault, as_json=as_json and not isinstance(fault, ReportUnwritable))) from fault
    raise typer.Exit(0 if summary.clean else output.EXIT_FAILED)


def _plan(path: Path, options: PlanOptions, skip_bad: bool) -> tuple[TraceReader, ReplayPlan]:
    """Read the trace as far as the plan needs it."""
    reader = TraceReader(path, skip_bad=skip_bad)
    plan = plan_replay(reader, options)
    reader.check()
    if not plan.requests:
        raise RequestInvalid(
            f"{path}: found no request to send within --start, --limit and --sample; widen them, or name another trace"
        )
    return reader, plan


def _announce(console: Console, plan: ReplayPlan, reader: TraceReader, served: ServedModel) -> None:
    """Say what will be sent, and what of it will not go as recorded."""
    lines = plan_sentences(plan)
    if reader.bad_lines:
        lines += [f"{reader.bad_lines} bad lines left out, the first: {reader.faults[0]}"]
    too_long = (
        sum(request.total_tokens > served.max_model_len for request in plan.requests) if served.max_model_len else 0
    )
    if too_long:
        lines += [
            f"{too_long} requests are longer than the {served.max_model_len} tokens that {served.name} takes, and "
            "will be refused; cut them with --max-prompt-tokens and --max-output-tokens, or shrink all with "
            "--scale-tokens"
        ]
    for line in lines:
        console.print(line)


async def _replay(
    plan: ReplayPlan,
    target: Target,
    slo: ServiceLevelObjective,
    controller: Controller,
    about: ReplayContext,
    on_progress: Callable[[ReplayProgress], None],
) -> tuple[ReplayRun, ReplayReport]:
    """Replay until the end or the first Ctrl-C; a second one ends the command at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    _prepare_process()
    return await measured_replay(plan, target, slo, controller, about, on_progress=on_progress, stop=stop)


def _prepare_process() -> None:
    """Keep this process from being the bottleneck that it measures."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every open stream is a file
    gc.collect()
    gc.freeze()  # a large plan would otherwise be walked at every full collection


def _about_trace(plan: ReplayPlan, reader: TraceReader) -> dict[str, Any]:
    return {"path": str(reader.path), "format": reader.format.name, "bad_lines": reader.bad_lines, **plan_summary(plan)}


def _arguments(context: typer.Context) -> dict[str, Any]:
    """Every argument but the key, in JSON's types."""
    given = {name: value for name, value in context.params.items() if name != "api_key"}
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def _write(run: ReplayRun, summary: ReplayReport, report: Path | None, tokens_out: Path | None) -> None:
    """Write the files that were asked for; by now the report has been shown, so a full disk loses none of it."""
    try:
        if report is not None:
            report.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if tokens_out is not None:
            write_outputs(tokens_out, run.results)
    except OSError as fault:
        raise ReportUnwritable(f"{fault.filename}: cannot be written ({fault.strerror})") from fault


def _show_plan(plan: ReplayPlan, as_json: bool) -> None:
    if as_json:
        output.print_json(plan_summary(plan))
        return
    for sentence in plan_sentences(plan):
        output.console().print(sentence)


def _show_report(summary: ReplayReport, as_json: bool) -> None:
    if as_json:
        output.print_json(summary.model_dump(mode="json"))
    else:
        print_report(output.console(), summary)
