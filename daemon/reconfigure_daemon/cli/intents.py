"""The verbs that ask the daemon for something: apply, rollback, pause, resume, and the objective."""

from __future__ import annotations

import math
import sys
from typing import Annotated, Any

import typer

from reconfigure_daemon.cli.completion import complete_assignment
from reconfigure_daemon.cli.control_api_client import ControlApiClient
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, DryRun, TokenFile, Url, Yes, client
from reconfigure_daemon.cli.output import EXIT_FAILED, console, print_json, side_console
from reconfigure_daemon.cli.progress import shown_progress
from reconfigure_policies.domain.configuration import KnobValue, parse_value

Assignments = Annotated[
    list[str],
    typer.Argument(metavar="KEY=VALUE...", help="Knobs and their new values.", autocompletion=complete_assignment),
]


def apply(
    assignments: Assignments,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Change knobs, hot or cold: says which and the cost, does it, reads the enforced state back.

    On a terminal a cold change is asked about first; --yes and --json go ahead.
    """
    request = {"kind": "apply", "changes": parse_assignments(assignments)}
    carry_out(client(url, token_file), request, dry_run=dry_run, yes=yes, as_json=as_json)


def rollback(
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the configuration before the last change."""
    carry_out(client(url, token_file), {"kind": "rollback"}, dry_run=dry_run, yes=yes, as_json=as_json)


def pause(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Stop automatic changes; what operators ask for is still done."""
    carry_out(client(url, token_file), {"kind": "pause"}, yes=True, as_json=as_json)


def resume(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Allow automatic changes again."""
    carry_out(client(url, token_file), {"kind": "resume"}, yes=True, as_json=as_json)


def parse_assignments(given: list[str]) -> dict[str, KnobValue]:
    """The changes that `KEY=VALUE` words name.

    Raises:
        typer.BadParameter: if a word is no assignment, or a key comes twice.
    """
    changes: dict[str, KnobValue] = {}
    for word in given:
        name, equals, text = word.partition("=")
        value = parse_value(text)
        if isinstance(value, float) and not math.isfinite(value):
            value = text  # JSON has no such number; the daemon refuses the word with what is allowed
        if not name or not equals or not text:
            raise typer.BadParameter(f"found {word!r}; write KEY=VALUE, e.g. max_num_seqs=64")
        if name in changes:
            raise typer.BadParameter(f"found {name} twice; give it one value")
        changes[name] = value
    return changes


def carry_out(
    api: ControlApiClient, request: dict[str, Any], *, dry_run: bool = False, yes: bool, as_json: bool
) -> None:
    """Ask, show what happens and what became of it; ends with exit code 1 if it did not succeed."""
    if dry_run:
        plan = api.intend({**request, "dry_run": True}, lambda _: None)
        print_json(plan) if as_json else _show_plan(plan)
        return
    asks = not yes and not as_json and is_interactive()
    if asks and not _agreed(api.intend({**request, "dry_run": True}, lambda _: None)):
        side_console().print("Nothing was changed.")
        raise typer.Exit(EXIT_FAILED)
    try:
        with shown_progress(quiet=as_json) as progress:
            result = api.intend(request, progress)
    except KeyboardInterrupt:
        side_console().print("Stopped watching; the daemon carries on. See `reconfigure status` and `history`.")
        raise typer.Exit(EXIT_FAILED) from None
    print_json(result) if as_json else _show_result(result, with_plan=not asks)
    outcome = (result.get("decision") or {}).get("outcome")
    if outcome and outcome.get("kind") != "applied":
        raise typer.Exit(EXIT_FAILED)


def is_interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _agreed(answer: dict[str, Any]) -> bool:
    """Show the plan; a cold change needs a yes, as its cost is felt by every stream."""
    _show_plan(answer)
    cold = any(change["tier"] == "cold" for change in (answer.get("plan") or {}).get("changes", []))
    return not cold or typer.confirm("Go ahead?")


def _show_plan(answer: dict[str, Any]) -> None:
    """What would change and what it would cost."""
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.wording import show_plan
    from reconfigure_daemon.control_api.messages import IntentResult

    show_plan(console(), parsed(IntentResult, answer).plan)


def _show_result(answer: dict[str, Any], *, with_plan: bool) -> None:
    """What was decided, why, and what then happened."""
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.wording import show_decision, show_plan
    from reconfigure_daemon.control_api.messages import IntentResult

    result = parsed(IntentResult, answer)
    if result.plan is not None and with_plan:
        show_plan(console(), result.plan)
    if result.decision is not None:
        show_decision(console(), result.decision, with_changes=result.plan is None)
