"""The NVIDIA driver's energy counters, one GPU at a time. The only place that speaks NVML; it reads and never sets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from reconfigure_daemon.metering.ledger import CounterDifference, DeviceLedger, PowerIntegral
from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource

logger = logging.getLogger(__name__)

NvmlError = pynvml.NVMLError
DENIED = pynvml.NVMLError_NoPermission

#: The driver's answers to a question that it will never answer otherwise.
REFUSALS = (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, DENIED)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What a GPU is and within which limits it may be set; None where the driver does not tell.

    Attributes:
        device: the label of its readings, `gpu0`.
        power_limit_range_w: the least and most that its power limit may be.
        sm_clock_range_mhz: the least and most of its supported graphics clocks.
    """

    device: str
    uuid: str
    name: str | None
    driver_version: str | None
    power_limit_range_w: tuple[float, float] | None
    sm_clock_range_mhz: tuple[int, int] | None


class _EnergyCounter:
    """The cumulative counter, in joules since the driver was loaded (Volta and later)."""

    source = EnergySource.MEASURED

    def __init__(self) -> None:
        self._difference = CounterDifference()

    def step(self, at_s: float, handle: Any) -> float | None:
        return self._difference.step(at_s, pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)


class _IntegratedPower:
    """The power reading, a mean over about a second, integrated."""

    source = EnergySource.INTEGRATED

    def __init__(self) -> None:
        self._integral = PowerIntegral()

    def step(self, at_s: float, handle: Any) -> float | None:
        return self._integral.step(at_s, pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)


class NvmlGpu:
    """One GPU: lost until it is attached, and again from the moment it stops answering."""

    def __init__(self, index: int, uuid: str) -> None:
        self.index, self.uuid = index, uuid
        self._ledger = DeviceLedger(f"gpu{index}")
        self._handle: Any = None
        self._meter: _EnergyCounter | _IntegratedPower | None = None

    @property
    def device(self) -> str:
        """Its label."""
        return self._ledger.device

    @property
    def lost(self) -> bool:
        """Whether it does not answer."""
        return self._meter is None

    @property
    def source(self) -> EnergySource:
        """Where its joules come from now."""
        return EnergySource.UNKNOWN if self._meter is None else self._meter.source

    def attach(self) -> None:
        """Find the GPU in the present NVML session; one that is not lost goes on counting from its last reading.

        Raises:
            NvmlError: if it does not answer.
        """
        self._handle = _handle(self.index, self.uuid)
        self.uuid = self.uuid or pynvml.nvmlDeviceGetUUID(self._handle)
        self._meter = self._meter or _choose_meter(self._handle)

    def detach(self, cause: Exception) -> None:
        """Stop counting: the joules of the time until it is attached again stay unknown."""
        if not self.lost:
            logger.warning("%s stopped answering (%s); its energy is unknown until it is back", self.device, cause)
        self._meter = None

    def read(self, at_s: float) -> DeviceEnergy:
        """Joules so far; unknown, and no more than before, while it is lost."""
        source, step_j = self.source, None
        if self._meter is not None:
            try:
                step_j = self._meter.step(at_s, self._handle)
            except NvmlError as error:
                self.detach(error)
        return self._ledger.book(at_s, step_j, source)

    def facts(self) -> GpuFacts:
        """See `GpuFacts`. It asks the driver several times, so once is enough."""
        limits_mw = _offered(lambda: pynvml.nvmlDeviceGetPowerManagementLimitConstraints(self._handle))
        clocks_mhz = _offered(lambda: _supported_sm_clocks_mhz(self._handle))
        return GpuFacts(
            device=self.device,
            uuid=self.uuid,
            name=_offered(lambda: pynvml.nvmlDeviceGetName(self._handle)),
            driver_version=_offered(pynvml.nvmlSystemGetDriverVersion),
            power_limit_range_w=(limits_mw[0] / 1000, limits_mw[1] / 1000) if limits_mw else None,
            sm_clock_range_mhz=(min(clocks_mhz), max(clocks_mhz)) if clocks_mhz else None,
        )


def start_session() -> None:
    """Start NVML.

    Raises:
        NvmlError: if the driver or its library is missing or refuses.
    """
    pynvml.nvmlInit()


def end_session() -> None:
    """End NVML; without a session nothing happens."""
    with suppress(NvmlError):
        pynvml.nvmlShutdown()


def gpu_uuids() -> list[str]:
    """Every GPU's UUID in the driver's order, "" for one that does not answer.

    Raises:
        NvmlError: if the driver does not tell how many there are.
    """
    return [_offered(_bind(pynvml.nvmlDeviceGetUUID, index)) or "" for index in range(pynvml.nvmlDeviceGetCount())]


def gpu_name(index: int) -> str:
    """A GPU's model name, "" for one that does not answer."""
    return _offered(_bind(pynvml.nvmlDeviceGetName, index)) or ""


def gpu_of_mig_slice(uuid: str) -> str:
    """UUID of the GPU that a MIG slice is cut from; the slice's own where the driver does not know it."""
    parent = _offered(lambda: pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(_handle(0, uuid)))
    return uuid if parent is None else _offered(lambda: pynvml.nvmlDeviceGetUUID(parent)) or uuid


def _handle(index: int, uuid: str) -> Any:
    """By UUID where it is known: indices move when a GPU falls off the bus."""
    return pynvml.nvmlDeviceGetHandleByUUID(uuid) if uuid else pynvml.nvmlDeviceGetHandleByIndex(index)


def _bind(question: Callable[[Any], str], index: int) -> Callable[[], str]:
    return lambda: question(pynvml.nvmlDeviceGetHandleByIndex(index))


def _offered(ask: Callable[[], _T]) -> _T | None:
    """What the driver answers, or None where it does not."""
    try:
        return ask()
    except NvmlError:
        return None


def _choose_meter(handle: Any) -> _EnergyCounter | _IntegratedPower:
    """The energy counter where the GPU has one, otherwise its power.

    Raises:
        NvmlError: if it offers neither or does not answer.
    """
    try:
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except REFUSALS:
        pynvml.nvmlDeviceGetPowerUsage(handle)
        return _IntegratedPower()
    return _EnergyCounter()


def _supported_sm_clocks_mhz(handle: Any) -> list[int]:
    memory_clocks_mhz = pynvml.nvmlDeviceGetSupportedMemoryClocks(handle)
    return list(pynvml.nvmlDeviceGetSupportedGraphicsClocks(handle, max(memory_clocks_mhz)))
