from __future__ import annotations

import os

import pytest

from reconfigure_daemon.errors import DaemonAlreadyRuns
from reconfigure_daemon.supervision import single_instance


def test_a_second_controller_is_refused_with_the_pid_of_the_first(tmp_path):
    """One runtime directory has one controller, and the refusal says which process to stop."""
    with (
        single_instance(tmp_path),
        pytest.raises(DaemonAlreadyRuns, match=f"pid {os.getpid()} already runs on {tmp_path}"),
        single_instance(tmp_path),
    ):
        pass


def test_the_lock_is_free_after_its_holder_ended(tmp_path):
    """A lock file that is left behind hinders nobody."""
    with single_instance(tmp_path):
        pass
    with single_instance(tmp_path):
        assert (tmp_path / "controller.lock").read_text() == f"{os.getpid()}\n"
