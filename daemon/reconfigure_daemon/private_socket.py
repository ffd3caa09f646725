"""The private socket."""
