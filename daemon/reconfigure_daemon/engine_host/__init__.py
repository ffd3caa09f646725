"""The data plane: vLLM's own server on a router that can change its EngineCore under live streams."""
