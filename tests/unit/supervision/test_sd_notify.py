from __future__ import annotations

import os
import socket

import pytest

from reconfigure_daemon.supervision import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's end of the notification socket, and the address it announces."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@reconfigure-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        receiver.settimeout(1)
        yield receiver, name


def test_each_state_is_one_datagram(manager):
    """The manager receives exactly the assignments of sd_notify(3), on a path and on an abstract socket."""
    receiver, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready()
    notifier.status("serving\n12 requests")
    notifier.watchdog()
    notifier.stopping()
    expected = ["READY=1", "STATUS=serving 12 requests", "WATCHDOG=1", "STOPPING=1"]
    assert [receiver.recv(256).decode() for _ in expected] == expected


def test_a_reload_carries_its_time(manager):
    """`Type=notify-reload` needs the monotonic time at which the reload began."""
    receiver, address = manager
    Notifier({"NOTIFY_SOCKET": address}).reloading()
    reloading, time_us = receiver.recv(256).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert int(time_us.removeprefix("MONOTONIC_USEC=")) > 0


def test_the_watchdog_is_fed_at_twice_the_rate_it_asks_for():
    """Half the allowed time leaves room for one missed beat; another process's watchdog is none of ours."""
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 15
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_interval_s is None
    assert Notifier({}).watchdog_interval_s is None


def test_without_a_manager_nothing_happens(caplog):
    """In the foreground there is nobody to tell, and nothing is said about it."""
    Notifier({}).ready()
    assert caplog.records == []


def test_a_manager_that_is_gone_is_a_warning(tmp_path, caplog):
    """A socket that nobody reads never stops the daemon."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "was not told READY=1" in caplog.text
