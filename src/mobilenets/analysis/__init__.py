"""What a network costs: layers as they ran, memory, latency."""
