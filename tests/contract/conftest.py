"""What the contracts' adapters stand on."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.engine.real_host import RealHost, real_host
from tests.unit.metering.conftest import fake_nvml, fake_rapl, nvml_library  # noqa: F401 - fixtures of the contract too


class RealEngine:
    """A real engine host that is started when it is wanted, again if a test has stopped it."""

    def __init__(self, folders: pytest.TempPathFactory, running: ExitStack) -> None:
        self._folders = folders
        self._running = running
        self._host: RealHost | None = None

    def serving(self) -> RealHost:
        if self._host is None or self._host.process.poll() is not None:
            self._host = self._running.enter_context(real_host(self._folders.mktemp("host")))
        return self._host


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory):
    with ExitStack() as running:
        yield RealEngine(tmp_path_factory, running)
