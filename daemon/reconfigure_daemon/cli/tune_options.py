"""The options of `reconfigure tune`, and what they accept."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconfigure_daemon.cli.options import duration_s
from reconfigure_daemon.cli.replay_options import positive

_JOULES = {"j": 1.0, "kj": 1e3, "mj": 1e6, "wh": 3600.0, "kwh": 3.6e6}
_ENERGY = re.compile(r"(\d+(?:\.\d+)?)\s*(kWh|Wh|kJ|MJ|J)", re.IGNORECASE)


def energy_j(text: str | float) -> float:
    """Joules of an amount of energy such as `3kWh`; raises `typer.BadParameter` for anything else."""
    found = _ENERGY.fullmatch(str(text).strip())
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(
            f"{text!r} is no amount of energy; write a number with J, kJ, MJ, Wh or kWh, e.g. 3kWh"
        )
    return float(found[1]) * _JOULES[found[2].lower()]


class SpaceKind(StrEnum):
    """How numbers of the space are taken; see `TuneRequest.space`."""

    DISCRETE = "discrete"
    CONTINUOUS = "continuous"


Trace = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, readable=True, help="Offer requests as long as this trace's, at its mean rate."
    ),
]
Recorded = Annotated[bool, typer.Option("--recorded", help="Offer what the daemon has seen: its windows' lengths.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the last session; its trials count.")]
Stop = Annotated[bool, typer.Option("--stop", help="End the session that runs; the configuration from before is back.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show the session that runs.")]
Trials = Annotated[int | None, typer.Option(min=2, max=1000, show_default="40", help="Configurations to measure.")]
Budget = Annotated[
    float | None,
    typer.Option(parser=duration_s, metavar="DURATION", help="End before, if so much time is spent, e.g. 2h."),
]
Energy = Annotated[
    float | None,
    typer.Option(parser=energy_j, metavar="ENERGY", help="End before, if so much energy is spent, e.g. 3kWh."),
]
Space = Annotated[
    SpaceKind,
    typer.Option(help="Try the space's values, or look for the best point between them and try those next to it."),
]
Rate = Annotated[
    float | None,
    typer.Option(parser=positive, metavar="RPS", help="Arrivals a second, in place of the trace's own mean."),
]
Window = Annotated[
    float,
    typer.Option(parser=duration_s, show_default="10s", metavar="DURATION", help="How long each load is measured."),
]
Settle = Annotated[
    float,
    typer.Option(parser=duration_s, show_default="3s", metavar="DURATION", help="How long it runs before."),
]
DespiteTraffic = Annotated[
    bool, typer.Option("--despite-traffic", help="Measure although clients are being served; they will wait.")
]
Plots = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Draw the front and the calibration into this folder, as HTML and PNG."),
]
