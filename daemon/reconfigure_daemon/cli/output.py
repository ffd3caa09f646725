"""Where the verbs write: people read text on the terminal, programs read one JSON document on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from reconfigure_daemon.errors import DaemonUnreachable, ReconfigureError, RequestInvalid, SettingsInvalid

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED, EXIT_USAGE, EXIT_NO_DAEMON = 1, 2, 3

#: As a shell tells of a program that a closed pipe ended: 128 and the number of SIGPIPE.
EXIT_PIPE_CLOSED = 141

#: Wide enough that a table in a pipe or a log is not folded.
_PIPE_WIDTH = 160


def console() -> Console:
    """Standard output for people; text from the daemon is shown as it is, never as markup."""
    return _console(stderr=False, file=sys.stdout)


def side_console() -> Console:
    """Standard error, for progress and faults."""
    return _console(stderr=True, file=sys.stderr)


def _console(*, stderr: bool, file: Any) -> Console:
    from rich.console import Console  # here, because programs that read --json need not wait for it

    width = None if file.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True, width=width)


def print_json(document: Any, *, line: bool = False) -> None:
    """One JSON document; on one line where several follow each other.

    What standard output cannot take as it is, such as half a character of the command line, is escaped.
    """
    indent = None if line else 2
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent)
    print(text, flush=True)


def close_quietly() -> None:
    """Let what was not written yet go nowhere, so that the interpreter's end does not stumble over a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def report(fault: ReconfigureError, *, as_json: bool) -> int:
    """Tell a fault and return the exit code for it."""
    if as_json:
        facts = {"faults": fault.faults} if isinstance(fault, SettingsInvalid) else getattr(fault, "facts", {})
        print_json({"error": {"kind": fault.kind, "message": str(fault), **facts}})
    else:
        side_console().print(f"reconfigure: {told(fault)}", style="red")
    if isinstance(fault, RequestInvalid):
        return EXIT_USAGE
    return EXIT_NO_DAEMON if isinstance(fault, DaemonUnreachable) else EXIT_FAILED


def told(fault: ReconfigureError) -> str:
    """A fault in words: several settings faults one a line, a running action with its age.

    The daemon's own words for a running action say already since when it runs and what to do.
    """
    if isinstance(fault, SettingsInvalid):
        return fault.listed()
    facts = getattr(fault, "facts", {})
    if fault.kind == "action_in_progress" and "since" in facts and ";" not in str(fault):
        running = f"{facts.get('action', 'an action')} since {clock_time(facts['since'])}"
        return f"{fault} ({running}); wait for its end, or watch it with `reconfigure status --watch`"
    return str(fault)


def clock_time(at: float) -> str:
    """A wall-clock time for people: the time today, with the date before that."""
    when, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if when[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", when)
