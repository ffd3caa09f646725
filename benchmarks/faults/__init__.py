"""What breaks around a running daemon, and what must hold meanwhile: one module per group of faults."""
