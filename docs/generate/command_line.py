"""The reference of the command line: every verb with its words and options, as `--help` has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from reconfigure_daemon.cli.main import app

_HEAD = """\
# Command line

Every verb of `reconfigure`, written from the code by `make docs`. Exit codes: 0 done, 1 refused, failed or rolled back,
2 usage, 3 no daemon. With `--json` each prints one JSON document, errors included."""


def page() -> str:
    """The page's text."""
    root = typer.main.get_command(app)
    return "\n".join([_HEAD, *_command(root, "reconfigure", None), ""])


def _command(command: Any, path: str, parent: Any) -> Iterator[str]:
    """A verb and the verbs below it; typer's own classes, which have no types."""
    context = command.context_class(command, info_name=path.rsplit(" ", 1)[-1], parent=parent)
    yield f"\n## {path}\n"
    yield " ".join((command.help or command.short_help or "").replace("\b", "").split())
    yield f"\n```\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```"
    rows = [row for each in command.params if (row := _row(each, context))]
    if rows:
        yield "\n| word or option | meaning |"
        yield "|---|---|"
        yield from rows
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _command(command.get_command(context, name), f"{path} {name}", context)


def _row(parameter: Any, context: Any) -> str | None:
    """One word or option as `--help` explains it; None for one that is hidden."""
    record = parameter.get_help_record(context)
    if record is None:
        return None
    word, meaning = record
    return f"| `{_cell(word)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
