"""The calendar of objectives."""
