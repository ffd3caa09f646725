"""What the plugin does to the processes that load it."""

from __future__ import annotations

import os
import subprocess
import sys

from reconfigure_daemon.engine_host.core_plugin import JOURNAL_VARIABLE

LOADED_AS_IN_THE_HOST = """
import ctypes
from reconfigure_daemon.engine_host import core_plugin
core_plugin.register()
signal = ctypes.c_int(-1)
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))  # PR_GET_PDEATHSIG
print(signal.value)
"""


def test_the_host_does_not_die_with_the_controller_that_started_it(tmp_path):
    """VLLM loads the plugin in the host, too; only cores and their workers ask to be killed with their parent."""
    environ = {**os.environ, JOURNAL_VARIABLE: str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", LOADED_AS_IN_THE_HOST], env=environ, capture_output=True, text=True, check=True
    )
    assert told.stdout == "0\n"
