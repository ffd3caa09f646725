"""`python -m reconfigure_daemon.profiling TRACE...`: breakdowns as JSON, in a process of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from reconfigure_daemon.profiling.breakdown import break_down
from reconfigure_daemon.profiling.trace import TraceUnreadable, read_trace


def main() -> int:
    """Print what each trace holds; exit code 1 with one line for the first that cannot be read."""
    try:
        found = [
            {"trace": path, **asdict(breakdown)}
            for path in sys.argv[1:]
            for breakdown in break_down(read_trace(Path(path)))
        ]
    except TraceUnreadable as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
