"""Figures that need an NVIDIA GPU; each module is one command: `python -m benchmarks.gpu.NAME`."""
