"""A network's cost: its layers as they run, memory, latency."""
