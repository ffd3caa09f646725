"""What the plugin does to the processes that load it."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

from reconfigure_daemon.engine_host import core_plugin
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


def test_a_core_is_bound_once(monkeypatch):
    """A core that serves on after a switch that failed is prepared again, and its queue is not wrapped once more."""
    bound, wrapped = [], []
    monkeypatch.setattr(core_plugin, "answer_at_once", wrapped.append)
    core = SimpleNamespace(input_queue="queue", scheduler=SimpleNamespace(bind_input_queue=bound.append))
    core_plugin._bind(core)
    core_plugin._bind(core)
    assert (bound, wrapped) == (["queue"], [core])
