from __future__ import annotations

import os

import pytest

from reconfigure_daemon.errors import DaemonAlreadyRuns, RuntimeFolderUnusable
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


def test_a_folder_that_is_missing_is_made_for_us_alone(tmp_path):
    """Sockets in it command the engine."""
    with single_instance(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("made", ["file", "run/controller.lock/in"])
def test_a_folder_that_cannot_be_used_is_named_by_its_key(tmp_path, made):
    """It is a file, or the lock in it is a folder."""
    if made == "file":
        (tmp_path / "run").write_text("")
    else:
        (tmp_path / made).mkdir(parents=True)
    with (
        pytest.raises(RuntimeFolderUnusable, match=f"paths.runtime {tmp_path}/run cannot be used"),
        single_instance(tmp_path / "run"),
    ):
        pass
