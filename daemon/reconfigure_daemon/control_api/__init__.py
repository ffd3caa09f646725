"""HTTP on :9400: status, intents, decisions, metrics."""
