"""The daemon: hosts vLLM's OpenAI server, watches it, and changes its configuration under live traffic."""

__version__ = "0.1.0"
