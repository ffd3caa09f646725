"""A day of the slow loop in seconds: the emulated engine's own model at the grain of windows, and the real policies.

What comes out is an emulation. It tells what the policies do with a workload, never what an engine would measure.
"""
