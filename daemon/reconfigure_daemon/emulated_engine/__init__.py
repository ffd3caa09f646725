"""A step-time and power model behind the private socket, for tests and planning; never a measurement."""
