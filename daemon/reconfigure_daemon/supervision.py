"""Guarded tasks."""
