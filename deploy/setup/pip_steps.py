"""Runs pip so that somebody who waits sees what it does, and somebody whose installation failed knows what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque

KEPT_LINES = 15  # of what pip said last, told only when it fails
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_PROGRESS_BAR": "off"}


class PipFailed(Exception):
    """One call of pip failed.

    Attributes:
        command: what was called.
        said: pip's last lines.
    """

    def __init__(self, command: list[str], said: list[str]) -> None:
        self.command = command
        self.said = said
        super().__init__(said[-1] if said else "pip said nothing")


def pip(*arguments: str) -> None:
    """Run this interpreter's pip; its present line is shown on a terminal, its last lines only when it fails.

    Indexes, proxies and certificates are those of pip's own settings.

    Raises:
        PipFailed: if it does not succeed.
    """
    command = [sys.executable, "-m", "pip", *arguments]
    said: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **QUIET}
    ) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            show(line.strip())
    show("")
    if process.returncode != 0:
        raise PipFailed(command, list(said))


def show(line: str) -> None:
    """Let a line follow the step's own on a terminal, in grey, and go back to where it began."""
    if not sys.stdout.isatty():
        return
    room = max(0, shutil.get_terminal_size().columns - 60)
    sys.stdout.write(f"\x1b7\x1b[K\x1b[2m{line[:room]}\x1b[0m\x1b8")  # save the cursor, clear, dim, restore
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something in the middle of a step."""
    print(f"\nsetup: {text}", flush=True)


def what_to_do(failure: PipFailed) -> str:
    """What pip said, and the ways out that fit it."""
    said = "\n".join(f"  | {line}" for line in failure.said if line)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{said}\nsetup: `{' '.join(failure.command)}` failed; its last lines are above.\n"
        f"{advice(failure.said, python)} Then run the same make command again: steps that were done are not repeated."
    )


def advice(said: list[str], python: str) -> str:
    """One sentence for what pip's words point to."""
    words = "\n".join(said)
    if "No space left" in words:
        return "The disk is full: free some GB (TMPDIR moves pip's temporary files to another disk)."
    if any(sign in words for sign in ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError")):
        return (
            "The package index was not reached: see to the network, or point pip at a mirror and its certificate with "
            "PIP_INDEX_URL, PIP_PROXY and PIP_CERT."
        )
    if "No matching distribution" in words:
        return (
            f"The package index has nothing that fits Python {python} on this machine. Reconfigure is made for Python "
            "3.11 to 3.13 on Linux: remove .venv and name one with `make PYTHON=python3.12 ...`, or name a mirror that "
            "has the package with PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS."
        )
    if "gcc" in words or "CMake" in words:
        return "Something had to be compiled: install a C compiler (Debian and Ubuntu: build-essential)."
    return "See to what pip complains about."
