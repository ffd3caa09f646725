"""Pure decisions: a snapshot goes in, a decision with its reason comes out. No I/O, no clock, no randomness."""
