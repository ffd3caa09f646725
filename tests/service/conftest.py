"""One throwaway machine for all tests of this folder, with the daemon installed on it by `make install`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from os.path import lexists

import pytest

from tests.service.machine import Machine, MachineDidNotBoot, missing

#: What the emulated engine is like: quick to boot, and slow enough for a stream to live through a restart.
EMULATION = '{"boot_s": 0.2}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """The installed daemon.

    Attributes:
        machine: where it is installed.
        engine_url, control_url: both reachable from here, since the machine shares this one's network.
        before: every path that the real machine does not have, before the installation.
        accounts: users and groups before it.
    """

    machine: Machine
    engine_url: str
    control_url: str
    before: set[str]
    accounts: list[str]

    def controller_pid(self) -> int:
        return int(self.machine.show("reconfigure", "MainPID")[0])

    def engine_pid(self) -> int:
        return int(self.machine.read("/run/reconfigure/engine-host.pid").split('"pid": ')[1].split(",")[0])

    def serving(self) -> None:
        """Wait until clients are served."""
        self.machine.until(
            lambda: self.machine.succeeds("curl", "-sf", f"{self.control_url}/readyz"), "a served client"
        )


def added(machine: Machine) -> set[str]:
    """Paths of the machine that the real one does not have; logs, pip's cache and backups of accounts aside."""
    ignored = ("/var/log", "/root/.cache", "/tmp", "/var/tmp")
    found = machine.run("find", "/run/changes", "-mindepth", "1", "-printf", "/%P\\n").splitlines()
    return {path for path in found if not path.startswith(ignored) and not path.endswith("-") and not lexists(path)}


def accounts(machine: Machine) -> list[str]:
    """Users and groups with all that is known of them."""
    return machine.run("cat", "/etc/passwd", "/etc/group").splitlines()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if reason := missing():
        pytest.skip(reason)
    try:
        booted = Machine(tmp_path_factory.mktemp("machine"))
    except MachineDidNotBoot as failure:
        if "mount" in str(failure) or "unshare" in str(failure):  # a container may not do it
            pytest.skip(f"no namespaces with mounts here: {str(failure).strip().splitlines()[-1]}")
        raise
    yield booted
    booted.end()


@pytest.fixture(scope="session")
def service(machine: Machine) -> Service:
    before, people = added(machine), accounts(machine)
    make(machine, "install")
    engine_port, control_port = free_port(), free_port()
    shipped = machine.read("/etc/reconfigure/config.yaml")
    edited = (
        shipped.replace("kind: vllm", "kind: emulated")
        .replace("port: 8000", f"port: {engine_port}")
        .replace("port: 9400", f"port: {control_port}")
    )
    machine.write("/etc/reconfigure/config.yaml", edited)
    environment = f"EMULATED_ENGINE={EMULATION}\nRECONFIGURE_URL=http://127.0.0.1:{control_port}\n"
    machine.write("/etc/reconfigure/environment", environment)
    # The watchdog as shipped is a minute; a test does not wait for that.
    machine.write("/etc/systemd/system/reconfigure.service.d/test.conf", "[Service]\nWatchdogSec=6s\n")
    machine.run("systemctl", "daemon-reload")
    return Service(machine, f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{control_port}", before, people)


def make(machine: Machine, target: str, *arguments: str) -> str:
    """`make` in the project, with a Python that every user can read and without vLLM."""
    return machine.run("make", "-C", "/run/project", "PYTHON=/usr/bin/python3", "ENGINE=none", target, *arguments)
