"""The small privileged process that sets clocks and power limits of GPUs, and puts back what it found.

It runs as root, so it imports the standard library and pynvml and nothing else; import-linter holds it to that.
"""
