"""What a command told, whatever the width of the terminal did to it."""

from __future__ import annotations


def words_of(told: str) -> str:
    """A usage error's words in one line: where its box breaks them depends on the length of a path, for one."""
    return " ".join(told.replace("│", " ").split())
