"""Joules: NVML, RAPL, or an estimate that says so."""
