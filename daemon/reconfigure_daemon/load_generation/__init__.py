"""Open-loop replay of recorded workloads against an OpenAI server."""
