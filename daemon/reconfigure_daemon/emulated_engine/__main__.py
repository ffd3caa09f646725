"""`python -m reconfigure_daemon.emulated_engine`: started by the controller, outlives it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from reconfigure_daemon.emulated_engine.serving import run
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace


def main() -> int:
    """Parse and serve; exit code 1 with one line in the log when it cannot."""
    parser = argparse.ArgumentParser(prog="reconfigure-emulated-engine", description="Emulates an engine host.")
    parser.add_argument("--config", type=Path, required=True, help="config.yaml")
    parser.add_argument("--runtime", type=Path, required=True, help="directory of the private socket")
    parser.add_argument("--initial", type=json.loads, default={}, help="the configuration to boot with, as JSON")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        asyncio.run(run(arguments.config, arguments.runtime, arguments.initial))
    except (ReconfigureError, ConfigurationOutsideSpace) as error:
        logging.getLogger(__name__).error("%s: %s", type(error).__name__, error)  # its words suffice
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
