"""Joules: NVML, RAPL, or an estimate that says so."""

from reconfigure_daemon.metering.energy_meter import ComposedEnergyMeter, build_emulated_meter, build_meter

__all__ = ["ComposedEnergyMeter", "build_emulated_meter", "build_meter"]
