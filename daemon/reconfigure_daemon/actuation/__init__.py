"""Starts, adopts and commands engine hosts."""
