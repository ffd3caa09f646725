"""A long action is watched in one line on a terminal, and in one line for each step elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from reconfigure_daemon.cli import progress

STEPS = [
    {"phase": "boot", "elapsed_s": 4.2, "detail": "loading [weights]"},
    {"phase": "pre_copy", "elapsed_s": 9.8, "detail": ""},
]


def shown(monkeypatch, *, terminal: bool, quiet: bool = False) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=80, markup=False, color_system=None)
    monkeypatch.setattr(progress, "side_console", lambda: console)
    with progress.shown_progress(quiet=quiet) as show:
        for step in STEPS:
            show(step)
    return output.getvalue()


def test_a_terminal_shows_one_live_line_with_a_running_clock(monkeypatch):
    """Steps replace each other in place, in the daemon's own words, and the line is gone at the end."""
    text = shown(monkeypatch, terminal=True)
    assert "boot: loading [weights] 0:00:00" in text
    assert "pre-copy 0:00:00" in text
    assert text.endswith("\x1b[2K")


def test_a_log_gets_a_line_for_each_step(monkeypatch):
    """Without a terminal nothing is overwritten."""
    assert shown(monkeypatch, terminal=False).splitlines() == [
        "  boot: loading [weights] after 4.2s",
        "  pre-copy after 9.8s",
    ]


def test_a_program_sees_no_progress(monkeypatch):
    """With --json there is only the result."""
    assert shown(monkeypatch, terminal=False, quiet=True) == ""
