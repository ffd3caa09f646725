"""`python -m reconfigure_daemon.device_helper`: started by its systemd unit, or by hand as root."""

from __future__ import annotations

import argparse
import asyncio
import grp
import logging
import os
import pwd
import sys
from pathlib import Path

from reconfigure_daemon.device_helper.server import run


def main() -> int:
    """Serve until stopped; exit code 1 with one line if it cannot."""
    parser = argparse.ArgumentParser(
        prog="reconfigure-device-helper", description="Sets clocks and power limits of GPUs for the daemon."
    )
    parser.add_argument("--socket", type=Path, default=Path("/run/reconfigure-device-helper/socket"))
    parser.add_argument(
        "--state", type=Path, default=Path(os.environ.get("STATE_DIRECTORY", "/var/lib/reconfigure-device-helper")),
        help="folder of the restore file",
    )  # fmt: skip
    parser.add_argument("--user", action="append", default=[], help="who may ask beside root; may be repeated")
    parser.add_argument("--group", help="who may open the socket; the process's own group if it is left out")
    given = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        users = frozenset(pwd.getpwnam(name).pw_uid for name in given.user)
        group = grp.getgrnam(given.group).gr_gid if given.group else None
        asyncio.run(run(given.socket, given.state, users, group))
    except (KeyError, OSError) as fault:
        sys.stderr.write(f"reconfigure-device-helper: {fault.args[0] if isinstance(fault, KeyError) else fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
