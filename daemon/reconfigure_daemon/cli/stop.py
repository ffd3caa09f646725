"""`reconfigure stop`: the end of an engine host that outlived its controller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconfigure_daemon.cli.options import AsJson, duration_s
from reconfigure_daemon.cli.output import console, print_json
from reconfigure_daemon.cli.settings_check import DEFAULT_CONFIG


def stop(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="RECONFIGURE_CONFIG", help="The settings file.")
    ] = DEFAULT_CONFIG,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            envvar="RUNTIME_DIRECTORY",
            file_okay=False,
            help="Where the engine host's socket is, in place of the settings' paths.runtime.",
        ),
    ] = None,
    drain_s: Annotated[
        float | None,
        typer.Option(
            "--drain",
            parser=duration_s,
            metavar="DURATION",
            help="How long live requests may take, e.g. 5m, in place of engine.drain_timeout_s.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """End the engine host that a stopped daemon left serving, once its live requests have finished.

    While a daemon runs this is refused, since it would start the engine again: stop the daemon first.
    """
    from reconfigure_daemon import assembly  # here, because no verb but this and `serve` needs the daemon's rooms

    pid = assembly.stop(config, runtime, drain_s)
    if as_json:
        print_json({"stopped": pid is not None, "pid": pid})
    else:
        console().print("No engine host runs." if pid is None else f"Engine host {pid} has ended.")
