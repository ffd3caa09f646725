"""`reconfigure tune`: measures configurations on purpose, and shows the front grow."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from reconfigure_daemon.cli import tune_options as options
from reconfigure_daemon.cli.answers import parsed
from reconfigure_daemon.cli.control_api_client import LEARNING_TIMEOUT_S, ControlApiClient
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, TokenFile, Url, client
from reconfigure_daemon.cli.output import EXIT_FAILED, console, print_json, side_console
from reconfigure_daemon.cli.replay_options import Limit, MaxOutputTokens, MaxPromptTokens, Sample, SkipBad, Start
from reconfigure_daemon.cli.tune_progress import shown_session
from reconfigure_daemon.control_api.tuning_messages import TuningView
from reconfigure_daemon.errors import ReconfigureError

_POLL_S = 0.5

#: Lengths that are taken over from a trace, evenly over it.
_MOST_LENGTHS = 2000


#: Options that belong to a trace, those of a session, and those that every form of the verb takes.
_OF_A_TRACE = {"rate", "start", "limit", "sample", "max_prompt_tokens", "max_output_tokens", "skip_bad"}
_OF_A_SESSION = {"trials", "budget", "energy", "space", "window", "settle", "despite_traffic"}
_OF_A_FORM = {"trace": _OF_A_TRACE | _OF_A_SESSION, "recorded": _OF_A_SESSION, "resume": {"trials"}}


def tune(
    context: typer.Context,
    trace: options.Trace = None,
    recorded: options.Recorded = False,
    resume: options.Resume = False,
    stop: options.Stop = False,
    watch: options.Watch = False,
    trials: options.Trials = None,
    budget: options.Budget = None,
    energy: options.Energy = None,
    space: options.Space = options.SpaceKind.DISCRETE,
    rate: options.Rate = None,
    start: Start = 0.0,
    limit: Limit = None,
    sample: Sample = 1.0,
    max_prompt_tokens: MaxPromptTokens = None,
    max_output_tokens: MaxOutputTokens = None,
    skip_bad: SkipBad = False,
    window: options.Window = 10.0,
    settle: options.Settle = 3.0,
    despite_traffic: options.DespiteTraffic = False,
    plots: options.Plots = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure configurations on the running engine with a load of its own, until the front is known.

    A Sobol design first, then what the surrogates expect to add most to the front for each joule. Each trial offers the
    workload's requests at its arrival rate (joules, latencies), then as many as the engine takes (throughput). Ctrl-C
    ends the trial and brings the configuration from before back; --resume goes on.
    """
    api = client(url, token_file)
    if sum((trace is not None, recorded, resume, stop, watch)) != 1:
        raise typer.BadParameter("name one of --trace FILE, --recorded, --resume, --watch and --stop")
    _refuse_what_is_not_used(context)
    if plots is not None:
        from reconfigure_daemon.cli.tune_plots import make_folder

        make_folder(plots)
    if stop:
        api.send("/v1/tune/stop", b"{}")
    elif resume:
        api.send("/v1/tune/resume", json.dumps({"trials": trials}).encode())
    elif not watch:
        request: dict[str, Any] = {
            "trials": trials or 40,
            "budget_s": budget,
            "budget_j": energy,
            "space": space.value,
            "settle_s": settle,
            "window_s": window,
            "saturated_s": max(1.0, window / 2),
            "despite_traffic": despite_traffic,
            "recorded": recorded,
        }
        if trace is not None:
            request |= _workload(trace, start, limit, sample, max_prompt_tokens, max_output_tokens, rate, skip_bad)
        api.send("/v1/tune", json.dumps(request).encode())
    view = _follow(api, quiet=as_json)
    _show_end(api, view, plots, as_json=as_json)
    if view.state != "finished" and not (stop and view.state == "stopped"):
        raise typer.Exit(EXIT_FAILED)


def _refuse_what_is_not_used(context: typer.Context) -> None:
    """An option that this form of the verb would not look at is refused, as it would be lost silently."""
    given = {name for name in context.params if _is_given(context, name)}
    form = next(name for name in ("trace", "recorded", "resume", "watch", "stop") if name in given)
    for option in context.command.params:
        lost = option.name in (_OF_A_TRACE | _OF_A_SESSION) - _OF_A_FORM.get(form, set())
        if lost and option.name in given:
            raise typer.BadParameter(f"{option.opts[0]} says nothing beside --{form}; leave it out")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _workload(
    trace: Path,
    start: float,
    limit: float | None,
    sample: float,
    max_prompt_tokens: int | None,
    max_output_tokens: int | None,
    rate: float | None,
    skip_bad: bool,
) -> dict[str, Any]:
    """Lengths and mean rate of a stretch of a trace; the daemon gets nothing else of it."""
    from reconfigure_daemon.load_generation.plan import PlanOptions, plan_replay
    from reconfigure_daemon.load_generation.trace import TraceInvalid
    from reconfigure_daemon.load_generation.trace_reader import TraceReader

    reader = TraceReader(trace, skip_bad=skip_bad)
    selected = PlanOptions(
        start_s=start,
        limit_s=limit,
        sample=sample,
        max_prompt_tokens=max_prompt_tokens,
        max_output_tokens=max_output_tokens,
    )
    plan = plan_replay(reader, selected)
    reader.check()
    if not plan.requests or (rate is None and plan.arrival_rate_rps <= 0):
        raise TraceInvalid([f"{trace}: nothing of it is left to offer; choose another --start, --limit or --sample"])
    step = -(-len(plan.requests) // _MOST_LENGTHS)
    lengths = [(request.prompt_tokens, request.output_tokens) for request in plan.requests[::step]]
    return {"lengths": lengths, "arrival_rate_rps": rate or plan.arrival_rate_rps}


def _follow(api: ControlApiClient, *, quiet: bool) -> TuningView:
    """Show the session until it has ended; Ctrl-C ends it, and a second one only stops watching."""
    interrupted = False
    with shown_session(quiet=quiet) as show:
        while True:
            try:
                view = parsed(TuningView, api.get("/v1/tune", timeout_s=LEARNING_TIMEOUT_S))
                show(view)
                if view.state != "running":
                    return view
                time.sleep(_POLL_S)
            except KeyboardInterrupt:
                if interrupted:
                    side_console().print("Stopped watching; `reconfigure tune --watch` shows the session again.")
                    raise typer.Exit(EXIT_FAILED) from None
                interrupted = True
                _stop(api)


def _stop(api: ControlApiClient) -> None:
    side_console().print("Ending the trial; the configuration from before comes back ...")
    try:
        api.send("/v1/tune/stop", b"{}")
    except ReconfigureError as refusal:  # it has ended just now
        side_console().print(str(refusal))


def _show_end(api: ControlApiClient, view: TuningView, plots: Path | None, *, as_json: bool) -> None:
    """For people the tables come first, for programs the plots: a fault in them is then the only document."""
    if as_json:
        _draw(view, plots)
        print_json(view.model_dump(mode="json"))
        return
    from reconfigure_daemon.cli.learned_wording import show_trust
    from reconfigure_daemon.cli.tune_wording import show_session
    from reconfigure_daemon.control_api.learning_messages import SurrogateView

    show_session(console(), view)
    surrogate = parsed(SurrogateView, api.get("/v1/surrogate", timeout_s=LEARNING_TIMEOUT_S))
    show_trust(console(), surrogate)
    if surrogate.fitted:
        console().print("`reconfigure pareto` and `reconfigure surrogate` show what was learned.")
    _draw(view, plots)


def _draw(view: TuningView, plots: Path | None) -> None:
    if plots is None:
        return
    from reconfigure_daemon.cli.tune_plots import draw_session

    for path in draw_session(view, plots):
        side_console().print(f"drawn into {path}")


def mean_error(view: TuningView, quantity: str) -> float | None:
    """Mean absolute error of what was foretold of trials before they were measured; None without any."""
    errors = []
    for trial in view.trials:
        expected = None if trial.expected is None else getattr(trial.expected, quantity)
        measured = trial.measured.measured.get(quantity)
        if expected is not None and measured:
            errors.append(abs(expected.median - measured) / measured)
    return fmean(errors) if errors else None
