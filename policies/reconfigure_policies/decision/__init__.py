"""From a snapshot to a decision: objectives, named configurations, guardrails."""
