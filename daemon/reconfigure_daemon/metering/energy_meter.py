"""All devices of the machine in one reading: GPUs and processor where they count, an estimate where nothing does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from reconfigure_daemon.metering.emulated import EmulatedEngine
from reconfigure_daemon.metering.estimate import HostEstimate, ProcessorEstimate, has_nvidia_gpu, processors_worked_s
from reconfigure_daemon.metering.gpus import Gpus, GpusUnavailable
from reconfigure_daemon.metering.nvml import GpuFacts
from reconfigure_daemon.metering.rapl import POWERCAP, Rapl, RaplUnavailable
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading


class DeviceGroup(Protocol):
    """Devices that are read together."""

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """One entry per device, always the same devices in the same order; never raises."""

    def close(self) -> None:
        """Release what is held."""


class ComposedEnergyMeter:
    """The `EnergyMeter` of a machine.

    Attributes:
        notices: sentences for the operator about what is not metered, or not as it should be.
        gpus: name, driver and limits of each metered GPU.
    """

    def __init__(
        self,
        groups: Sequence[DeviceGroup],
        notices: Sequence[str] = (),
        gpus: Sequence[GpuFacts] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = tuple(groups)
        self._monotonic = monotonic
        self.notices = list(notices)
        self.gpus = tuple(gpus)

    def read(self) -> EnergyReading:
        """See `EnergyMeter.read`."""
        at_s = self._monotonic()
        return EnergyReading(at_s, tuple(device for group in self._groups for device in group.read(at_s)))

    def close(self) -> None:
        """See `EnergyMeter.close`."""
        for group in self._groups:
            group.close()


def build_meter(
    settings: MeteringSettings,
    busy: Callable[[], float],
    *,
    environ: Mapping[str, str] | None = None,
    powercap: Path = POWERCAP,
    with_gpu: bool | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ComposedEnergyMeter:
    """The meter for this machine: NVML and RAPL where they are, and only where neither is, the labelled estimate.

    Args:
        settings: which sources to try, and the estimate's watts.
        busy: the engine's busy share now, 0 to 1; asked only for the estimate of a machine with a GPU.
        environ: where CUDA_VISIBLE_DEVICES is looked up; the process's own if None.
        powercap: where Linux shows RAPL.
        with_gpu: whether the estimate is of a machine with a GPU that cannot be metered; looked up if None.
        monotonic: the clock of the readings.
    """
    notices: list[str] = []
    gpus = _open(lambda: Gpus(os.environ if environ is None else environ), notices) if settings.nvml == "auto" else None
    rapl = _open(lambda: Rapl(powercap), notices) if settings.rapl == "auto" else None
    groups: list[DeviceGroup] = [group for group in (gpus, rapl) if group is not None]
    if not groups:
        idle_w, busy_w = settings.estimate_idle_w, settings.estimate_busy_w
        if has_nvidia_gpu() if with_gpu is None else with_gpu:
            groups.append(HostEstimate(idle_w, busy_w, busy))
            by = "whether requests run"
        else:
            groups.append(ProcessorEstimate(idle_w, busy_w, processors_worked_s))
            by = "how much the processors work"
        notices.append(f"Energy is estimated, not measured: {idle_w:g} W idle to {busy_w:g} W busy, by {by}.")
    return ComposedEnergyMeter(groups, notices, gpus.facts() if gpus else (), monotonic)


def build_emulated_meter(socket_path: Path, monotonic: Callable[[], float] = time.monotonic) -> ComposedEnergyMeter:
    """The meter of an emulated engine, whose joules have nothing to do with this machine's.

    Args:
        socket_path: the engine host's private socket.
        monotonic: the clock of the readings.
    """
    notice = "Energy is the emulated engine's own: a model's estimate, not measured."
    return ComposedEnergyMeter([EmulatedEngine(socket_path)], [notice], (), monotonic)


_Counted = TypeVar("_Counted", Gpus, Rapl)


def _open(group: Callable[[], _Counted], notices: list[str]) -> _Counted | None:
    """The group, or None where the machine has none of it; either way its notices."""
    try:
        opened = group()
    except (GpusUnavailable, RaplUnavailable) as unavailable:
        notices.append(str(unavailable))
        return None
    notices.extend(opened.notices)
    return opened
