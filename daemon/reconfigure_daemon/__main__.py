"""`python -m reconfigure_daemon` is `reconfigure`."""
