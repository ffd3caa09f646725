"""The verbs that only look: status, history, explain, schedule."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from reconfigure_daemon.bounds import MOST_DAYS, MOST_DECISIONS
from reconfigure_daemon.cli.control_api_client import LEARNING_TIMEOUT_S, ControlApiClient
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, TokenFile, Url, client
from reconfigure_daemon.cli.output import console, print_json

WATCH_INTERVAL_S = 1.0


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, once a second, until interrupted.")] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """What serves, under which configuration, how well, at what power, and what was decided last."""
    api = client(url, token_file)
    if watch:
        _watch(api, as_json=as_json)
        return
    answer = api.get("/v1/status")
    print_json(answer) if as_json else console().print(_status_page(answer))


def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST_DECISIONS, help="At most this many.")] = 20,
    before: Annotated[int | None, typer.Option("--before", help="Only decisions older than this number.")] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Past decisions with their reasons and outcomes, newest first."""
    answer = client(url, token_file).get("/v1/decisions", limit=limit, before=before)
    if as_json:
        print_json(answer)
        return
    from reconfigure_daemon.cli.wording import decisions_table

    decisions = _decisions(answer)
    console().print(decisions_table(decisions) if decisions else "No decision has been made yet.")


def explain(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """The last decision, and why this configuration and not its neighbours, as far as that was learned."""
    api = client(url, token_file)
    answer = api.get("/v1/decisions", limit=1)
    learned = api.get("/v1/explanation", timeout_s=LEARNING_TIMEOUT_S)
    if as_json:
        print_json({**answer, "explanation": learned})
        return
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.learned_wording import explanation_sentences
    from reconfigure_daemon.cli.wording import show_decision
    from reconfigure_daemon.control_api.learning_messages import ExplanationView

    decisions = _decisions(answer)
    if decisions:
        show_decision(console(), decisions[0], with_changes=True)
    else:
        console().print("No decision has been made yet; the configuration is the one at start.")
    for sentence in explanation_sentences(parsed(ExplanationView, learned)):
        console().print(sentence)


def schedule(
    days: Annotated[int, typer.Option("--days", "-d", min=1, max=MOST_DAYS, help="How far to look ahead.")] = 7,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """What the calendar wants now, and every change of the coming week."""
    answer = client(url, token_file).get("/v1/schedule", days=days)
    if as_json:
        print_json(answer)
        return
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.calendar_page import calendar_page
    from reconfigure_daemon.control_api.messages import CalendarView

    console().print(calendar_page(parsed(CalendarView, answer), days))


def _watch(api: ControlApiClient, *, as_json: bool) -> None:
    """Show the status again and again; an interrupt is how it is meant to end."""
    from rich.live import Live

    try:
        if as_json:
            while True:
                print_json(api.get("/v1/status"), line=True)
                time.sleep(WATCH_INTERVAL_S)
        if not console().is_terminal:
            while True:  # a log or another program gets each page below the one before
                console().print(_status_page(api.get("/v1/status")))
                time.sleep(WATCH_INTERVAL_S)
        with Live(console=console(), auto_refresh=False) as live:
            while True:
                live.update(_status_page(api.get("/v1/status")), refresh=True)
                time.sleep(WATCH_INTERVAL_S)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _status_page(answer: Any) -> Any:
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.status_page import status_page
    from reconfigure_daemon.control_api.messages import StatusView

    return status_page(parsed(StatusView, answer), time.time())


def _decisions(answer: Any) -> Any:
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.control_api.messages import DecisionList

    return parsed(DecisionList, answer).decisions
