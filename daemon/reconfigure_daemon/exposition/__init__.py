"""Every Prometheus metric, named once."""

from reconfigure_daemon.exposition.metrics import Metrics

__all__ = ["Metrics"]
