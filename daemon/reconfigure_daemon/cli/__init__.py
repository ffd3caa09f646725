"""The verbs of `reconfigure`; they talk to the control API only."""
