"""Long measurements in parts: files of earlier runs of the same benchmark, whose raw values count, too."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from reconfigure_daemon.errors import RequestInvalid


def add_option(parser: argparse.ArgumentParser, what: str) -> None:
    """`--add-to FILE ...`, read by `part_in`; `what` counts of those results."""
    parser.add_argument("--add-to", type=Path, nargs="*", default=[], help=f"results whose {what} count, too")


def part_in(path: Path, benchmark: str, read: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """What an earlier run wrote.

    Args:
        path: of its result.
        benchmark: whose result it has to be.
        read: understands its details, or raises ValueError, TypeError or KeyError.

    Raises:
        RequestInvalid: if there is no such file, or it is no result of this benchmark.
    """
    try:
        part: dict[str, Any] = json.loads(path.read_text())
        read(part["details"])
    except OSError as unreadable:
        raise RequestInvalid(f"--add-to {path}: {unreadable.strerror}") from unreadable
    except (ValueError, TypeError, KeyError) as odd:
        raise RequestInvalid(f"--add-to {path} is no result of benchmarks.{benchmark}") from odd
    return part


def one_source(parts: Iterable[dict[str, Any]]) -> str:
    """Where the joules of all parts come from.

    Raises:
        RequestInvalid: if there are no parts, or their joules are not all of one kind.
    """
    sources = {str(part["details"]["energy_source"]) for part in parts}
    if len(sources) != 1:
        raise RequestInvalid(
            f"--rounds 0 only adds up: --add-to needs parts with one source of joules, not {sources or 'none'}"
        )
    return sources.pop()


def require_alike(parts: Sequence[dict[str, Any]], arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Refuse parts that measured something else than these arguments say.

    Args:
        parts: as read from `--add-to`, in its order.
        arguments: of this run.
        names: of the arguments that make results of different things.

    Raises:
        RequestInvalid: with the first part that differs, and in what.
    """
    given = vars(arguments)
    for part, path in zip(parts, arguments.add_to, strict=True):
        of_part = part["arguments"]
        if unlike := [name for name in names if of_part.get(name, given[name]) != given[name]]:
            found = ", ".join(f"{name} {of_part[name]} and not {given[name]}" for name in unlike)
            raise RequestInvalid(f"{path} was measured with {found}; parts that are added up measure the same thing")
