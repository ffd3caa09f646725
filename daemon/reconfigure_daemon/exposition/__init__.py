"""Every Prometheus metric, named once."""
