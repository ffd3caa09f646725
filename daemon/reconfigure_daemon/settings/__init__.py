"""`config.yaml`: its shape, its loading, and faults with their lines."""

from reconfigure_daemon.settings.knobs import DEVICE_KNOBS, HOT_KNOBS
from reconfigure_daemon.settings.loading import load_settings
from reconfigure_daemon.settings.model import Settings
from reconfigure_daemon.settings.reload import cold_differences
from reconfigure_daemon.settings.token_file import read_token

__all__ = ["DEVICE_KNOBS", "HOT_KNOBS", "Settings", "cold_differences", "load_settings", "read_token"]
