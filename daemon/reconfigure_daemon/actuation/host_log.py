"""The engine host's log: set aside at each start and when it has grown long, and searched for what went wrong."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

#: A log this long is set aside. vLLM has a line for each request, and under systemd the log is in memory.
LIMIT_BYTES = 64 * 2**20

#: How much of the end of the log is searched.
_TAIL_BYTES = 128 * 1024

# What log formats put before a message: vLLM's process tag, level, time and place; the standard library's time,
# level and logger.
_PREFIX = re.compile(
    r"^(?:\([^)]*\bpid=\d+\)\s*)?"
    r"(?:(?:ERROR|CRITICAL|WARNING|INFO)\s+\d\d-\d\d\s+[\d:]+\s+\[[^\]]*\]\s*)?"
    r"(?:\d{4}-\d\d-\d\d [\d:,]+ (?:ERROR|CRITICAL) [\w.]+: )?"
)

# The last line of a traceback, or one of this project's errors: a class with its message.
_ERROR = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Unavailable|InUse|Invalid|Fault|Refused\w*|Failed|OutsideSpace)(?::\s.*|$)"
)

# Errors that only say that another one came before.
_ECHO = re.compile(r"See root cause above|for root cause|Engine core initialization failed|exited unexpectedly")


def rotate(log_file: Path) -> None:
    """Keep one older log, so that a restart does not bury why the host before it died."""
    if log_file.exists():
        log_file.replace(_older(log_file))


def shorten(log_file: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Set a log aside that is longer than the limit, although its writers keep it open; returns whether it was.

    They append, so that they go on at the beginning of what is now empty. A line that is written in the milliseconds
    between the copy and that is lost.
    """
    if not log_file.exists() or log_file.stat().st_size <= limit_bytes:
        return False
    _older(log_file).unlink(missing_ok=True)  # first, in case there is room for no third
    shutil.copy(log_file, _older(log_file))
    os.truncate(log_file, 0)
    return True


def _older(log_file: Path) -> Path:
    return log_file.with_suffix(log_file.suffix + ".1")


def last_error(log_file: Path) -> str | None:
    """The last line that names an error and its cause; the last line of all if none does; None for an empty log."""
    lines = [_PREFIX.sub("", line).strip() for line in _tail(log_file).splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if _ERROR.match(line)]
    causes = [line for line in errors if not _ECHO.search(line)]
    return next((found[-1] for found in (causes, errors, lines) if found), None)


def _tail(log_file: Path) -> str:
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - _TAIL_BYTES))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
