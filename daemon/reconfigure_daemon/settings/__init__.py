"""`config.yaml`: its shape, its loading, and faults with their lines."""

from reconfigure_daemon.settings.model import HOT_KNOBS, Settings

__all__ = ["HOT_KNOBS", "Settings"]
