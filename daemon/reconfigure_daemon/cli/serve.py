"""`reconfigure serve`: the daemon itself, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconfigure_daemon.cli.settings_check import DEFAULT_CONFIG


def serve(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="RECONFIGURE_CONFIG", help="The settings file.")
    ] = DEFAULT_CONFIG,
) -> None:
    """Run the daemon in the foreground: adopt the engine that runs, or start one."""
    from reconfigure_daemon import assembly  # here, because no other verb needs the daemon's rooms

    raise typer.Exit(assembly.run(config))
