"""Options that every verb has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconfigure_daemon.cli.control_api_client import DEFAULT_URL, ControlApiClient, read_token
from reconfigure_daemon.durations import parse_duration_s
from reconfigure_daemon.errors import RequestInvalid

__all__ = ["DEFAULT_URL", "AsJson", "DryRun", "TokenFile", "Url", "Yes", "client", "duration_s"]


def _remember(context: typer.Context, as_json: bool) -> bool:
    """Faults are told in the form that the verb was asked for."""
    context.meta["as_json"] = context.meta.get("as_json", False) or as_json
    return as_json


Url = Annotated[str, typer.Option("--url", envvar="RECONFIGURE_URL", help="Where the daemon's control API is.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="RECONFIGURE_TOKEN_FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="File with the control API's token, where the daemon asks for one.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", callback=_remember, is_eager=True, help="Print one JSON document instead of text.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change and what it would cost.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a cold change.")]


def client(url: str, token_file: Path | None) -> ControlApiClient:
    """The control API that the options name.

    Raises:
        typer.BadParameter: if the address is none.
    """
    token = read_token(token_file)
    try:
        return ControlApiClient(url, token)
    except RequestInvalid as fault:
        raise typer.BadParameter(str(fault), param_hint="--url") from fault


def duration_s(text: str | float) -> float:
    """Seconds of a duration such as `1h30m`; a default is seconds already.

    Raises:
        typer.BadParameter: if it is none.
    """
    try:
        return parse_duration_s(text) if isinstance(text, str) else float(text)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
