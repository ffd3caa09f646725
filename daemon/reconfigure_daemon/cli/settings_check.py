"""`reconfigure config check`: every fault of a settings file, or what it allows; needs no daemon."""

from __future__ import annotations

import os
import time
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconfigure_daemon.cli.options import AsJson
from reconfigure_daemon.cli.output import console, print_json

if TYPE_CHECKING:
    from reconfigure_daemon.control_api.messages import SpanView
    from reconfigure_daemon.settings import Settings

_MOST_SPANS = 60

DEFAULT_CONFIG = Path("config.yaml")

config = typer.Typer(no_args_is_help=True, help="The settings file.")


@config.callback()
def _settings_file() -> None:
    """The settings file."""


@config.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(help=f"The settings file; as --config.  [default: {DEFAULT_CONFIG}]", show_default=False),
    ] = None,
    named: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="RECONFIGURE_CONFIG", help="The settings file, as for serve."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every fault of a settings file with its line, or show what the file allows.

    RECONFIGURE_SECTION__KEY variables of this shell count, as they would for the daemon.
    """
    from reconfigure_daemon.settings import load_settings

    path = path or named or DEFAULT_CONFIG
    settings = load_settings(path, os.environ)
    summary, week = summarize(settings), coming_week(settings, time.time())
    if as_json:
        coming = [span.model_dump(mode="json") for span in week]
        print_json({"path": str(path), "valid": True, **summary, "coming_week": coming})
    else:
        _show(path, week, summary)


def summarize(settings: Settings) -> dict[str, Any]:
    """The space's knobs and size, and the objectives' configurations."""
    space = settings.configuration_space()
    sizes = {tier: prod(len(knob.values) for knob in space.knobs if knob.tier == tier) for tier in ("hot", "cold")}
    return {
        "knobs": [
            {
                "name": k.name,
                "tier": k.tier.value,
                "values": k.values,
                "default": k.default,
                "description": k.description,
            }
            for k in space.knobs
        ],
        "configurations": sizes["hot"] * sizes["cold"],
        "cold_configurations": sizes["cold"],
        "objectives": {name.value: dict(values) for name, values in settings.named_configurations().items()},
        "start_objective": settings.start_objective.value,
    }


def coming_week(settings: Settings, now: float) -> list[SpanView]:
    """What the calendar brings within seven days of a wall-clock time; the first of it, where that is very much."""
    from reconfigure_daemon.control_api.views import span_view

    calendar = settings.calendar()
    spans = calendar.coming(now, now + 7 * 86400, _MOST_SPANS)
    return [view for view in (span_view(calendar, span) for span in spans) if view is not None]


def _show(path: Path, week: list[SpanView], summary: dict[str, Any]) -> None:
    from rich.table import Table

    from reconfigure_daemon.cli.calendar_page import spans_table
    from reconfigure_policies.domain.configuration import format_value

    table = Table("knob", "tier", "values", "default", "meaning", box=None, pad_edge=False, header_style="bold")
    for knob in summary["knobs"]:
        values = ", ".join(map(format_value, knob["values"]))
        table.add_row(knob["name"], knob["tier"], values, format_value(knob["default"]), knob["description"])
    console().print(f"{path} has no faults.")
    console().print(table)
    console().print(
        f"{summary['configurations']} configurations: the cold knobs make {summary['cold_configurations']} cores, and"
        " the hot knobs move inside each."
    )
    for objective, values in summary["objectives"].items():
        shown = " ".join(f"{name}={format_value(value)}" for name, value in values.items())
        start = " (at start)" if objective == summary["start_objective"] else ""
        console().print(f"{objective}{start}: {shown}")
    if week:
        console().print("The coming week by the calendar:")
        console().print(spans_table(week))
