"""`python -m reconfigure_daemon.engine_host`: started by the controller, outlives it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from reconfigure_daemon.engine_host.public_paths import DEV_MODE_VARIABLE


def main() -> int:
    """Parse, check, serve; exit code 1 with one line on stderr when the engine cannot be had."""
    parser = argparse.ArgumentParser(prog="reconfigure-engine-host", description="Hosts vLLM for the controller.")
    parser.add_argument("--config", type=Path, required=True, help="config.yaml")
    parser.add_argument("--runtime", type=Path, required=True, help="directory of the private socket")
    parser.add_argument("--initial", default="{}", help="the configuration to boot with, as JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.pop(DEV_MODE_VARIABLE, None)  # its endpoints are no client's business
    from reconfigure_daemon.engine_host.serving import run

    return run(arguments.config, arguments.runtime, json.loads(arguments.initial))


if __name__ == "__main__":
    sys.exit(main())
