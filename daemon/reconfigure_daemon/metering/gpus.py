"""The daemon's GPUs as one group: which they are, and how lost ones are found again."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from reconfigure_daemon.metering import nvml
from reconfigure_daemon.metering.gpu_selection import ordering_notice, visible_gpus
from reconfigure_daemon.metering.nvml import GpuFacts, NvmlError, NvmlGpu
from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource

logger = logging.getLogger(__name__)

#: A lost GPU is looked for again after this long, then after twice as long each time, up to the longest.
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


class GpusUnavailable(Exception):
    """No GPU can be metered; the message is a notice for the operator."""


class Gpus:
    """Every GPU that the environment leaves visible, idle ones included.

    Measured on an H200 (driver 580): reading the energy counter costs 3.3 to 4.3 ms of one core for each GPU, however
    seldom it is done, so once a second is 0.4 % of a core per GPU; the power reading costs 0.05 ms; restarting NVML in
    search of a lost GPU 10 ms.

    Args:
        environ: where CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are looked up.

    Raises:
        GpusUnavailable: if no GPU can be metered, with what was found and what to do.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.notices: list[str] = []
        self._retry_at_s: float | None = None
        self._retry_delay_s = FIRST_RETRY_S
        try:
            nvml.start_session()
            self._gpus = self._select(environ)
        except NvmlError as error:
            self.close()
            raise GpusUnavailable(_why_nvml_does_not_start(error)) from error
        # One GPU that never tells leaves the sum unknown; where none ever tells, an estimate serves better.
        self._awaited = [gpu for gpu in self._gpus if self._attach_first(gpu)]
        if not self._awaited:
            self.close()
            raise GpusUnavailable(" ".join(self.notices))

    def _select(self, environ: Mapping[str, str]) -> list[NvmlGpu]:
        uuids = nvml.gpu_uuids()
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        chosen = visible_gpus(uuids, self._without_mig_slices(visible))
        if not chosen:
            given = "is not set" if visible is None else f"is {visible!r}"
            self.notices.append(
                f"The driver shows {len(uuids)} GPUs and CUDA_VISIBLE_DEVICES {given}: none is left to meter."
            )
        if notice := ordering_notice([nvml.gpu_name(index) for index in range(len(uuids))], environ):
            self.notices.append(notice)
        return [NvmlGpu(index, uuids[index]) for index in chosen]

    def _without_mig_slices(self, visible: str | None) -> str | None:
        """CUDA_VISIBLE_DEVICES with every MIG slice replaced by its GPU: slices have no energy counter."""
        if visible is None or "MIG-" not in visible:
            return visible
        self.notices.append("A MIG slice is used; the energy of its whole GPU is metered, other slices included.")
        entries = [entry.strip() for entry in visible.split(",")]
        return ",".join(nvml.gpu_of_mig_slice(entry) if entry.startswith("MIG-") else entry for entry in entries)

    def _attach_first(self, gpu: NvmlGpu) -> bool:
        """Whether the GPU can be metered, now or once it answers; says what is unusual about it."""
        try:
            gpu.attach()
        except nvml.REFUSALS as error:
            self.notices.append(f"{gpu.device} tells neither energy nor power ({error}), so its energy is unknown.")
            return False
        except NvmlError as error:
            self.notices.append(f"{gpu.device} does not answer ({error}); its energy is unknown until it does.")
            return True
        if gpu.source is EnergySource.INTEGRATED:
            self.notices.append(f"{gpu.device} has no energy counter; its power is integrated over time instead.")
        return True

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """One entry per GPU, lost ones included; never raises."""
        if self._retry_at_s is not None and at_s >= self._retry_at_s:
            self._reconnect()
        readings = tuple(gpu.read(at_s) for gpu in self._gpus)
        self._plan_retry(at_s)
        return readings

    def _plan_retry(self, at_s: float) -> None:
        if not any(gpu.lost for gpu in self._awaited):
            self._retry_at_s, self._retry_delay_s = None, FIRST_RETRY_S
        elif self._retry_at_s is None or at_s >= self._retry_at_s:
            self._retry_at_s = at_s + self._retry_delay_s
            self._retry_delay_s = min(2 * self._retry_delay_s, LONGEST_RETRY_S)
        if all(gpu.lost for gpu in self._awaited):
            self.close()  # an open session would keep the driver from being reloaded

    def _reconnect(self) -> None:
        """Restart NVML, which alone makes it look for GPUs anew, and attach every GPU to the new session."""
        self.close()
        try:
            nvml.start_session()
        except NvmlError as error:
            for gpu in self._gpus:
                gpu.detach(error)
            return
        for gpu in self._gpus:
            self._attach_again(gpu)

    def _attach_again(self, gpu: NvmlGpu) -> None:
        was_lost = gpu.lost
        try:
            gpu.attach()
        except NvmlError as error:
            gpu.detach(error)
            return
        if was_lost:
            logger.info("%s answers again; its energy is %s from now on", gpu.device, gpu.source)

    def facts(self) -> tuple[GpuFacts, ...]:
        """Name, driver and limits of every GPU."""
        return tuple(gpu.facts() for gpu in self._gpus)

    def close(self) -> None:
        """End the NVML session; may be called twice."""
        nvml.end_session()


def _why_nvml_does_not_start(error: NvmlError) -> str:
    remedy = "install or load the NVIDIA driver, or set metering.nvml to off"
    if isinstance(error, nvml.DENIED):
        remedy = "let the daemon's user open /dev/nvidiactl and /dev/nvidia*, or set metering.nvml to off"
    return f"NVML does not start ({error}), so GPU energy is not metered; {remedy}."
